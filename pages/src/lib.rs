//! Manual pages and shell completions, each from the one place that says it: commands from their command lines, the formats
//! of configuration files from the samples, the mount from the README that it serves.

use anyhow::Context;
use clap::{Command, CommandFactory};
use clap_complete::{Shell, generate};
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};
use qrng_adapter::args::AdapterArgs;
use qrng_collector::Args as CollectorArgs;
use qrng_gateway::args::{GatewayArgs, MountArgs};
use qrng_http::args::HttpArgs;

/// What the pages say they belong to.
const MANUAL: &str = "qrng";

/// All files: names relative to the directory that they go into, and texts.
///
/// # Errors
/// A page cannot be rendered.
pub fn files() -> anyhow::Result<Vec<(String, Vec<u8>)>> {
    let mut files = Vec::new();
    tool(&mut files)?;
    for (command, also) in [
        (CollectorArgs::command(), "qrng(1), qrng-collector.toml(5)"),
        (
            GatewayArgs::command(),
            "qrng(1), qrng-gateway.toml(5), qrng(7), qrng-mount(8)",
        ),
        (
            HttpArgs::command(),
            "qrng(1), qrng-http.toml(5), qrng-gateway(8)",
        ),
        (
            AdapterArgs::command(),
            "qrng(1), qrng-adapter.toml(5), qrng-gateway(8), random(4), fifo(7)",
        ),
        (MountArgs::command(), "qrng-gateway(8), qrng(7)"),
    ] {
        program(&mut files, command, also)?;
    }
    let samples = [
        (
            "qrng-collector",
            include_str!("../../config/collector.toml"),
        ),
        ("qrng-gateway", include_str!("../../config/gateway.toml")),
        ("qrng-http", include_str!("../../config/http.toml")),
        ("qrng-adapter", include_str!("../../config/adapter.toml")),
    ];
    for (program, sample) in samples {
        let name = format!("{program}.toml");
        let what = format!("configuration of {program}(8)");
        let also = format!("{program}(8), qrng(1)");
        files.push((
            format!("man/{name}.5"),
            verbatim(&name, "5", &what, sample, &also),
        ));
    }
    let readme = qrng_gateway::tree::README;
    let also = "qrng(1), qrng-gateway(8), qrng-gateway.toml(5)";
    let page = verbatim("qrng", "7", "files of quantum random bytes", readme, also);
    files.push(("man/qrng.7".into(), page));
    Ok(files)
}

/// The pages and completions of `qrng` and its commands.
fn tool(files: &mut Vec<(String, Vec<u8>)>) -> anyhow::Result<()> {
    let mut command = qrng_cli::command();
    completions(files, &command);
    command.build();
    let mut also: Vec<_> = Vec::new();
    for sub in command
        .get_subcommands()
        .filter(|sub| sub.get_name() != "help")
    {
        let name = format!("qrng-{}", sub.get_name());
        also.push(format!("{name}(1)"));
        // The page's name is one word; clap shows two.
        let sub = sub
            .clone()
            .name(leaked(name.clone()))
            .disable_help_subcommand(true);
        files.push((format!("man/{name}.1"), page(sub, "1", "qrng(1), qrng(7)")?));
    }
    also.push("qrng(7)".into());
    files.push(("man/qrng.1".into(), page(command, "1", &also.join(", "))?));
    Ok(())
}

/// The page and completions of a daemon.
fn program(files: &mut Vec<(String, Vec<u8>)>, command: Command, also: &str) -> anyhow::Result<()> {
    completions(files, &command);
    let name = format!("man/{}.8", command.get_name());
    files.push((name, page(command, "8", also)?));
    Ok(())
}

fn page(command: Command, section: &str, also: &str) -> anyhow::Result<Vec<u8>> {
    let name = command.get_name().to_owned();
    let mut bytes = Vec::new();
    // No version or date of the build: the pages are the same until what they say changes.
    Man::new(command)
        .section(section)
        .manual(MANUAL)
        .source(MANUAL)
        .date("")
        .render(&mut bytes)
        .with_context(|| format!("the page of {name}"))?;
    let mut see = Roff::new();
    see.control("SH", ["SEE ALSO"]).text([roman(also)]);
    bytes.extend(see.to_roff().into_bytes());
    Ok(bytes)
}

/// A page around a text that is shown as it is.
fn verbatim(name: &str, section: &str, what: &str, text: &str, also: &str) -> Vec<u8> {
    let mut page = Roff::new();
    page.control("TH", [name, section, "", MANUAL, MANUAL])
        .control("SH", ["NAME"])
        .text([roman(format!("{name} - {what}"))])
        .control("SH", ["DESCRIPTION"])
        .control("nf", []);
    for line in text.lines() {
        page.text([if line.starts_with('[') {
            bold(line)
        } else {
            roman(line)
        }]);
    }
    page.control("fi", [])
        .control("SH", ["SEE ALSO"])
        .text([roman(also)]);
    page.to_roff().into_bytes()
}

fn completions(files: &mut Vec<(String, Vec<u8>)>, command: &Command) {
    let name = command.get_name().to_owned();
    for (shell, file) in [
        (Shell::Bash, format!("completions/{name}.bash")),
        (Shell::Zsh, format!("completions/_{name}")),
        (Shell::Fish, format!("completions/{name}.fish")),
    ] {
        let mut bytes = Vec::new();
        generate(shell, &mut command.clone(), name.clone(), &mut bytes);
        files.push((file, bytes));
    }
}

/// clap wants names that live as long as the process.
fn leaked(name: String) -> &'static str {
    Box::leak(name.into_boxed_str())
}
