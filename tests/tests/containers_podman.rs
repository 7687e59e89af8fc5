//! Containers as people start them: consumers beside a gateway on the host, a gateway in a container that gives its files to the
//! host and to other containers, and the shipped files for Kubernetes.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use qrng_tests::chain::{Chain, program, read_json};
use qrng_tests::namespaces::{Found, SharedGateway, look, must};
use qrng_tests::podman::{self, Podman, Running};
use qrng_tests::{python, skip};
use serde_json::Value;

/// Users of a container with a user namespace, from here on.
const MAPPED: u32 = 300_000;

fn packaging(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../packaging/containers")
        .join(name)
}

/// A store of containers, where there can be one.
macro_rules! podman {
    ($world:ident) => {{
        if let Some(why) = podman::impossible() {
            skip!("{why}");
        }
        let directory = $world.chain.path("podman");
        fs::create_dir(&directory).expect("a directory");
        Podman::new(&directory)
    }};
}

/// How a consumer is given the files.
fn volume(world: &SharedGateway, options: &str) -> Vec<String> {
    let share = world.share();
    vec![
        "--network=none".to_owned(),
        format!("--volume={}:/run/qrng-share:{options}", share.display()),
    ]
}

const SLEEP: &[&str] = &["sleep", "1000000"];

const RAW: &str = "/run/qrng-share/qrng/raw";

fn see(container: &Running) -> Found {
    look(container.command("head"), Path::new(RAW))
}

#[test]
fn a_container_finds_the_files_again_when_the_gateway_was_restarted() {
    let mut world = SharedGateway::new();
    let podman = podman!(world);
    podman.build_base("base", &[]);
    // Before there is a gateway; what Kubernetes calls HostToContainer is "rslave" here.
    let [slave, private] = ["ro,rslave", "ro,rprivate"]
        .map(|options| podman.run(&volume(&world, options), "base", SLEEP));
    assert_eq!([&slave, &private].map(see), [Found::Nothing; 2]);
    world.start();
    assert_eq!([&slave, &private].map(see), [Found::Bytes, Found::Nothing]);
    world.restart();
    assert_eq!([&slave, &private].map(see), [Found::Bytes, Found::Nothing]);
    // What is bound by itself is not found again.
    let point = format!("--volume={}:/qrng:ro,rslave", world.mount().display());
    let bound = podman.run(&["--network=none".to_owned(), point], "base", SLEEP);
    let of_point = || look(bound.command("head"), Path::new("/qrng/raw"));
    assert_eq!(of_point(), Found::Bytes);
    world.restart();
    assert_eq!((of_point(), see(&slave)), (Found::Dead, Found::Bytes));
}

#[test]
fn a_container_with_users_of_its_own_reads_as_who_they_are_outside() {
    let mut world = SharedGateway::new();
    let podman = podman!(world);
    podman.build_base("base", &[]);
    let mapped = |mut options: Vec<String>| {
        let maps = ["uid", "gid"].map(|kind| format!("--{kind}map=0:{MAPPED}:65536"));
        options.extend(maps);
        options
    };
    // Started before the gateway: crun 1.8 leaves out what is mounted already where there is a user namespace.
    let container = podman.run(&mapped(volume(&world, "ro,rslave")), "base", SLEEP);
    world.start();
    let root = || container.command_of_its_root("head");
    assert_eq!(look(root(), Path::new(RAW)), Found::Bytes);
    let status = Path::new("/run/qrng-share/qrng/status");
    assert_eq!(look(root(), status), Found::Forbidden);
    let point = format!("--volume={}:/qrng:ro", world.mount().display());
    let mut options = mapped(vec!["--network=none".to_owned(), point]);
    options.push("--user=33:33".to_owned());
    let other = podman.try_run(&options, "base", &["head", "-c", "48", "/qrng/raw"]);
    assert_eq!(other.stdout.len(), 48, "{other:?}");
    // head of busybox reads more than it shows.
    assert!(world.bytes_of(MAPPED) >= 16 && world.bytes_of(MAPPED + 33) >= 48);
    // Without a user namespace they are users of the host.
    let mut options = volume(&world, "ro,rslave");
    options.push("--user=20005:20005".to_owned());
    let plain = podman.try_run(&options, "base", &["head", "-c", "32", RAW]);
    assert_eq!(plain.stdout.len(), 32, "{plain:?}");
    assert!(world.bytes_of(20_005) >= 32);
}

#[test]
fn a_gateway_in_a_container_gives_its_files_to_the_host_and_to_others() {
    let mut world = SharedGateway::new();
    let podman = podman!(world);
    let programs = [program("qrng-gateway"), program("qrng-mount")];
    let [gateway, mount] = &programs;
    podman.build_base("base", &[gateway, mount]);
    let context = world.chain.path("context");
    fs::create_dir(&context).expect("a directory");
    for program in &programs {
        let name = program.file_name().expect("a program");
        fs::copy(program, context.join(name)).expect("a copy");
    }
    podman.build(
        "qrng-gateway",
        &packaging("Containerfile"),
        &context,
        &["BASE=base"],
    );

    let sample = fs::read_to_string(packaging("gateway.toml")).expect("the sample");
    let listen = format!("127.0.0.1:{}", world.chain.port);
    let config = sample.replace("0.0.0.0:4790", &listen);
    let config = format!("accept-simulated = true\n{config}");
    let etc = world.chain.path("etc");
    fs::create_dir_all(etc.join("keys")).expect("a directory");
    fs::write(etc.join("gateway.toml"), config).expect("a configuration");
    let key = etc.join("keys/gateway.key");
    fs::copy(world.chain.path("gateway.key"), &key).expect("a copy");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o400)).expect("chmod of a copy");
    let state = world.chain.path("state");
    fs::create_dir(&state).expect("a directory");
    let consumer = podman.run(&volume(&world, "ro,rslave"), "base", SLEEP);
    let volumes = [
        (world.share(), "/run/qrng-share:rshared"),
        (etc, "/etc/qrng:ro"),
        (state, "/var/lib/qrng-gateway"),
        (world.chain.path("gateway"), "/run/qrng-gateway"),
    ];
    let start = || {
        let mut options = vec![
            "--network=host".to_owned(),
            "--device=/dev/fuse".to_owned(),
            "--cap-add=SYS_ADMIN".to_owned(),
        ];
        for (from, to) in &volumes {
            options.push(format!("--volume={}:{to}", from.display()));
        }
        podman.run(&options, "qrng-gateway", &[])
    };
    let first = start();
    world.start_collector();
    world.wait_until_it_serves();
    assert_eq!(
        look(Command::new("head"), &world.mount().join("raw")),
        Found::Bytes
    );
    assert_eq!(see(&consumer), Found::Bytes);
    let status = read_json(&world.mount().join("status"));
    assert_eq!(
        status["confinement"]["gateway"], "without-landlock",
        "{status:#}"
    );
    // It ends well, leaves no mount, and the next one is found again.
    assert_eq!(first.stop(), 0, "{}", first.log());
    assert_eq!(see(&consumer), Found::Nothing);
    let second = start();
    world.wait_until_it_serves();
    assert_eq!(see(&consumer), Found::Bytes);
    assert_eq!(second.stop(), 0, "{}", second.log());
}

/// A YAML file as JSON, one value a document.
fn documents(file: &Path) -> Vec<Value> {
    let code = "import json,sys,yaml\nfor it in yaml.safe_load_all(open(sys.argv[1])): print(json.dumps(it))";
    let python = python::program("python3").expect("the python of the tests");
    let text = must(Command::new(python).args(["-c", code]).arg(file));
    let documents = text
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"));
    documents.collect()
}

/// The volume mount `name` of a container of a pod.
fn volume_mount<'a>(container: &'a Value, name: &str) -> &'a Value {
    let mounts = container["volumeMounts"].as_array().expect("volume mounts");
    let mount = mounts.iter().find(|mount| mount["name"] == name);
    mount.unwrap_or_else(|| panic!("no volume mount {name}"))
}

#[test]
fn the_files_for_kubernetes_are_valid_and_say_what_the_documents_say() {
    let validate = match python::program("kubernetes-validate") {
        Ok(program) => program,
        Err(why) => skip!("{why}"),
    };
    let files = ["kubernetes/gateway.yaml", "kubernetes/consumer.yaml"].map(packaging);
    // Against the schemas of the oldest version that has all of it in use, and of the newest that the program knows.
    for version in [None, Some("1.30")] {
        let mut command = Command::new(&validate);
        version.map(|version| command.args(["--kubernetes-version", version]));
        command.arg("--strict").args(&files);
        must(&mut command);
    }
    let [gateway, consumer] = files.each_ref().map(|file| documents(file));
    let [map, set] = &gateway[..] else {
        panic!("{gateway:?}");
    };
    let pod = &set["spec"]["template"]["spec"];
    let container = &pod["containers"][0];
    assert_eq!(container["securityContext"]["privileged"], true);
    assert_eq!(
        volume_mount(container, "share")["mountPropagation"],
        "Bidirectional"
    );
    assert_eq!(
        volume_mount(&pod["initContainers"][0], "share")["mountPropagation"],
        "HostToContainer"
    );
    let volume = |pod: &Value, name: &str| {
        let volumes = pod["volumes"].as_array().expect("volumes").clone();
        let volume = volumes.into_iter().find(|volume| volume["name"] == name);
        volume.unwrap_or_else(|| panic!("no volume {name}"))
    };
    assert_eq!(volume(pod, "key")["secret"]["defaultMode"], 0o400);
    let reader = &consumer[0]["spec"];
    let mount = volume_mount(&reader["containers"][0], "share");
    assert_eq!(
        (&mount["mountPropagation"], &mount["readOnly"]),
        (&"HostToContainer".into(), &true.into())
    );
    let path = |pod: &Value| volume(pod, "share")["hostPath"]["path"].clone();
    assert_eq!(path(pod), path(reader));
    assert_eq!(path(pod), "/run/qrng-share");

    // The gateway takes its configuration, which is that of other containers.
    let config = map["data"]["gateway.toml"]
        .as_str()
        .expect("a configuration");
    let plain = fs::read_to_string(packaging("gateway.toml")).expect("the sample");
    let plain: Vec<_> = plain
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty())
        .collect();
    let lines: Vec<_> = config.lines().filter(|line| !line.is_empty()).collect();
    assert_eq!(lines, plain);
    let chain = Chain::new();
    let file = chain.path("kubernetes.toml");
    let key = chain.path("gateway.key").display().to_string();
    fs::write(&file, config.replace("/etc/qrng/keys/gateway.key", &key)).expect("a configuration");
    must(
        Command::new(program("qrng-gateway"))
            .arg("--check")
            .arg("--config")
            .arg(file),
    );
}
