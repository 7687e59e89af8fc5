//! What the adapter's configuration says, and whether the gateway at its socket has something for it.

use std::path::Path;

use qrng_adapter::config::{Config, Environment};
use qrng_adapter::gateway::{Gateway, Told};
use qrng_consumer::ConsumerError;

use super::report::{Problem, Report};

/// Judges the configuration in `file`, and the gateway that it names.
pub fn look(file: &Path, report: &mut Report) {
    match Config::load(file, &Environment::read()) {
        Ok(config) => {
            let told = Gateway::new(&config.gateway_socket).told();
            judge(&config, told, report);
        }
        Err(error) => {
            let text = error.to_string();
            let remedy = format!(
                "correct it; qrng-adapter pool --config {} --check says whether it is right",
                file.display()
            );
            let problems = text.lines().map(|line| Problem::new(line, &*remedy));
            report.problems.extend(problems);
        }
    }
}

fn judge(config: &Config, told: Result<Told, ConsumerError>, report: &mut Report) {
    let told = match told {
        Ok(told) => told,
        Err(error) => {
            let text = error.to_string();
            let (what, remedy) = text.split_once("; ").unwrap_or((&text, "see its log"));
            report.problems.push(Problem::new(what, remedy));
            return;
        }
    };
    let socket = config.gateway_socket.display();
    if matches!(told.state.as_str(), "latched" | "stalled") {
        report.problems.push(Problem::new(
            format!(
                "the gateway at {socket} is {}: the adapter gets no bytes",
                told.state
            ),
            "see `reasons` in its status: qrng status",
        ));
    }
    if config.pool.credit == 0 {
        report.notes.push(
            "what qrng-adapter gives the kernel's pool counts for nothing, because pool.credit is 0".into(),
        );
    } else if told.kinds.iter().any(|kind| kind == "simulator") && !config.pool.credit_simulated {
        report.notes.push(format!(
            "what qrng-adapter gives the kernel's pool counts for nothing, because the gateway at {socket} has had bytes of a \
             simulator since it started"
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::super::host::Host;
    use super::*;

    fn report() -> Report {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join("sys/bus")).unwrap();
        Report::new(&Host::new(root.path(), None).unwrap())
    }

    fn config(text: &str) -> (tempfile::TempDir, std::path::PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("adapter.toml");
        std::fs::write(&file, text).unwrap();
        (directory, file)
    }

    fn told(state: &str, kind: &str) -> Told {
        Told {
            state: state.into(),
            kinds: vec![kind.into()],
            fill: 0,
            uptime: 0,
        }
    }

    #[test]
    fn what_is_wrong_is_told_with_its_remedy() {
        let (_directory, file) = config("[pool]\ncredit = 9\n[fifo]\nmode = \"0666\"\n");
        let mut told = report();
        look(&file, &mut told);
        assert_eq!(told.problems.len(), 2, "{:?}", told.problems);
        assert!(told.problems[0].what.contains("pool.credit"));
        assert!(
            told.problems[1]
                .remedy
                .contains("qrng-adapter pool --config")
        );
        let (_directory, file) = config("gateway-socket = \"/nonexistent/s\"\n");
        let mut told = report();
        look(&file, &mut told);
        let problem = &told.problems[0];
        assert!(
            problem
                .what
                .contains("no gateway listens at /nonexistent/s"),
            "{problem:?}"
        );
        assert!(problem.remedy.contains("[stream] listen"), "{problem:?}");
    }

    #[test]
    fn a_gateway_that_gives_nothing_is_to_be_mended_and_what_does_not_count_is_noted() {
        let load = |text| {
            let (_directory, file) = config(text);
            Config::load(&file, &Environment::default()).unwrap()
        };
        let mut seen = report();
        judge(&load(""), Ok(told("latched", "usb")), &mut seen);
        assert!(seen.problems[0].what.contains("is latched"));
        assert!(seen.notes[0].contains("pool.credit is 0"));
        let mut seen = report();
        judge(
            &load("[pool]\ncredit = 8\n"),
            Ok(told("serving", "simulator")),
            &mut seen,
        );
        assert!(seen.problems.is_empty() && seen.notes[0].contains("of a simulator"));
        let mut seen = report();
        judge(
            &load("[pool]\ncredit = 8\n"),
            Ok(told("serving", "usb")),
            &mut seen,
        );
        assert!(seen.problems.is_empty() && seen.notes.is_empty());
    }
}
