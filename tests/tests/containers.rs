//! The mount as containers see it: mount namespaces with every propagation, user namespaces, idmapped mounts, an nspawn container.
//! docs/containers.md is what these tests show.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use qrng_tests::chain::{Chain, PATIENCE, wait_until};
use qrng_tests::container::{self, Container};
use qrng_tests::fuse_harness::is_root;
use qrng_tests::namespaces::{Found, MountNamespace, SharedGateway, UserNamespace, look, must};
use qrng_tests::skip;

/// Where namespaces of containers have users of their own: inside 0, outside this.
const MAPPED: u32 = 200_000;

macro_rules! need_root {
    () => {
        if !is_root() {
            skip!("only root can make namespaces for others");
        }
    };
}

fn seen(namespace: &MountNamespace, file: &Path) -> Found {
    look(namespace.command("head"), file)
}

#[test]
fn what_namespaces_see_of_a_gateway_that_comes_goes_and_comes_again() {
    need_root!();
    let mut world = SharedGateway::new();
    let (host, inside) = (world.share(), world.inside());
    let of_parent = inside.join("qrng/raw");
    let of_mount = inside.join("raw");
    let make = |propagation, from: &Path| MountNamespace::new(propagation, from, &inside);
    // Made before there is a mount, with the directory above it bound.
    let before = ["slave", "shared", "private"].map(|propagation| make(propagation, &host));
    let look_at_all = |of: &[MountNamespace; 3]| [0, 1, 2].map(|at| seen(&of[at], &of_parent));
    assert_eq!(look_at_all(&before), [Found::Nothing; 3]);
    world.start();
    let came = [Found::Bytes, Found::Bytes, Found::Nothing];
    assert_eq!(look_at_all(&before), came, "slave, shared, private");
    // Made when it was there: with the directory above, and with the mount point itself.
    let after = ["slave", "shared", "private"].map(|propagation| make(propagation, &host));
    let points =
        ["slave", "shared", "private"].map(|propagation| make(propagation, &world.mount()));
    assert_eq!(look_at_all(&after), [Found::Bytes; 3]);
    let look_at_points = || [0, 1, 2].map(|at| seen(&points[at], &of_mount));
    assert_eq!(look_at_points(), [Found::Bytes; 3]);

    // It goes: nobody's namespace keeps it from ending well.
    assert!(world.chain.stop_gateway().expect("a gateway").success());
    assert!(!world.mount().join("raw").exists());
    let gone = [Found::Nothing, Found::Nothing, Found::Dead];
    assert_eq!(look_at_all(&after), gone);
    assert_eq!(look_at_points(), [Found::Dead; 3]);
    // It comes again: seen where the directory above is bound, and mounts are passed on.
    world.start();
    assert_eq!(look_at_all(&before), came);
    assert_eq!(
        look_at_all(&after),
        [Found::Bytes, Found::Bytes, Found::Dead]
    );
    assert_eq!(look_at_points(), [Found::Dead; 3]);
    // The same after it was killed, whose dead mount the next one removes everywhere.
    world.chain.kill_gateway();
    world.start();
    assert_eq!(look_at_all(&before), came);
    assert_eq!(
        look_at_all(&after),
        [Found::Bytes, Found::Bytes, Found::Dead]
    );
}

#[test]
fn a_gateway_in_a_namespace_of_its_own_is_seen_outside_if_that_is_shared() {
    need_root!();
    for (propagation, expected) in [("shared", Found::Bytes), ("slave", Found::Nothing)] {
        let mut world = SharedGateway::new();
        let space = MountNamespace::new(propagation, &world.share(), &world.inside());
        let own = world.inside().join("qrng");
        let gateway = world.command(&own);
        let mut command = space.command(&gateway.get_program().to_string_lossy());
        world.start_by(command.args(gateway.get_args()));
        wait_until("it serves inside", || {
            world.chain.assert_alive();
            seen(&space, &own.join("status")) == Found::Bytes
        });
        let outside = look(Command::new("head"), &world.mount().join("raw"));
        assert_eq!(outside, expected, "{propagation}");
        assert!(world.chain.stop_gateway().expect("a gateway").success());
        assert!(!world.mount().join("raw").exists());
    }
}

#[test]
fn users_of_a_user_namespace_read_as_who_they_are_outside() {
    need_root!();
    let mut world = SharedGateway::new();
    world.start();
    let raw = world.mount().join("raw");
    let namespace = UserNamespace::new(MAPPED);
    assert_eq!(look(namespace.command("head"), &raw), Found::Bytes);
    assert_eq!(world.bytes_of(MAPPED), 16);
    // Root there is nobody's root here.
    let status = world.mount().join("status");
    assert_eq!(look(namespace.command("head"), &status), Found::Forbidden);
    // Without a mapping it is `nobody` to itself, and who it is to the gateway.
    let mut unmapped = Command::new("setpriv");
    unmapped.args(["--reuid=20003", "--regid=20003", "--clear-groups"]);
    unmapped.args(["unshare", "--user", "head"]);
    assert_eq!(look(unmapped, &raw), Found::Bytes);
    assert_eq!(world.bytes_of(20_003), 16);
    assert_eq!(world.bytes_of(u32::MAX), 0);
}

/// Takes 16 bytes at the socket `$ARGV[0]`, and prints the answer's code.
const TAKE: &str = "use Socket; socket(S, PF_UNIX, SOCK_STREAM, 0); connect(S, pack_sockaddr_un($ARGV[0])) or die $!;\
    syswrite(S, pack('CCnNNN', 1, 1, 0, 16, 16, 60000)); sysread(S, $h, 8) == 8 or die $!; print unpack('xC', $h)";

#[test]
fn a_program_in_a_container_takes_bytes_at_the_stream_socket_as_who_it_is_outside() {
    need_root!();
    let mut world = SharedGateway::new();
    let socket = world.share().join("socket");
    world.tables = format!("[stream]\nlisten = {socket:?}\nmode = \"0666\"\n");
    world.start();
    let namespace = UserNamespace::new(MAPPED);
    let mut perl = namespace.command("perl");
    assert_eq!(must(perl.args(["-e", TAKE]).arg(&socket)), "0");
    assert_eq!(world.bytes_of(MAPPED), 16);
    if let Some(why) = container::impossible() {
        skip!("{why}");
    }
    let tree = match container::tree() {
        Ok(tree) => tree,
        Err(why) => skip!("no tree for a container: {why}"),
    };
    let container = Container::plain(&tree, &world.share());
    let mut inside = container.command_of("setpriv");
    inside.args(["--reuid=20006", "--regid=20006", "--clear-groups"]);
    assert_eq!(must(inside.args(["perl", "-e", TAKE, "/mnt/socket"])), "0");
    assert_eq!(world.bytes_of(20_006), 16);
    // The directory is bound, so the socket of the next gateway is found, too.
    world.restart();
    let mut again = container.command_of("perl");
    assert_eq!(must(again.args(["-e", TAKE, "/mnt/socket"])), "0");
}

#[test]
fn a_gateway_in_a_user_namespace_serves_that_namespace_alone() {
    need_root!();
    if fs::metadata("/dev/fuse").is_ok_and(|device| device.permissions().mode() & 0o6 != 0o6) {
        skip!("/dev/fuse is not open to all");
    }
    let mut world = SharedGateway::new();
    let mount = world.mount();
    let gateway = world.command(&mount);
    // Its files, key and directories are that user's.
    for name in ["gateway", "gateway.key", "gateway.toml", "share"] {
        let mut command = Command::new("chown");
        must(
            command
                .args(["-R", "20004:20004"])
                .arg(world.chain.path(name)),
        );
    }
    let program = world.chain.path("qrng-gateway");
    fs::copy(gateway.get_program(), &program).expect("a copy");
    let mut command = Command::new("setpriv");
    command.args(["--reuid=20004", "--regid=20004", "--clear-groups"]);
    command.args(["unshare", "--user", "--map-root-user", "--mount"]);
    command.arg(&program).args(gateway.get_args());
    world.start_by(&mut command);
    let pid = world
        .chain
        .gateway
        .as_ref()
        .expect("a gateway")
        .id()
        .to_string();
    // Before that it is not in its namespaces.
    wait_until("the gateway is executed", || {
        let comm = fs::read_to_string(format!("/proc/{pid}/comm"));
        comm.is_ok_and(|comm| comm.trim() == "qrng-gateway")
    });
    let inside = || {
        let mut command = Command::new("nsenter");
        command.args(["--user", "--mount", "--target", &pid, "head"]);
        command
    };
    wait_until("it serves inside", || {
        world.chain.assert_alive();
        look(inside(), &mount.join("status")) == Found::Bytes
    });
    assert_eq!(look(inside(), &mount.join("raw")), Found::Bytes);
    // Nothing is seen outside, nor can anybody from there look in, root neither.
    assert_eq!(
        look(Command::new("head"), &mount.join("raw")),
        Found::Nothing
    );
    let mut outside = Command::new("nsenter");
    outside.args(["--mount", "--target", &pid, "head"]);
    assert_eq!(look(outside, &mount.join("raw")), Found::Forbidden);
    assert!(world.chain.stop_gateway().expect("a gateway").success());
}

#[test]
fn only_for_itself_means_for_no_namespace_either() {
    need_root!();
    let mut chain = Chain::new();
    let way = fs::Permissions::from_mode(0o755);
    fs::set_permissions(chain.path("."), way).expect("chmod of a directory of our own");
    chain.start_gateway("accept-simulated = true\nallow-other = false", "");
    chain.start_collector(None, "[source]\nkind = \"simulator\"\nrate = \"4 MB/s\"\n");
    chain.read_raw(1, PATIENCE);
    let namespace = UserNamespace::new(MAPPED);
    let inside = namespace.command("head");
    assert_eq!(look(inside, &chain.file("raw")), Found::Forbidden);
    assert_eq!(look(Command::new("head"), &chain.file("raw")), Found::Bytes);
}

/// Tries mount_setattr(2) with MOUNT_ATTR_IDMAP on a copy of the mount at `path`, with the user namespace of `pid`: the errno.
fn idmap(path: &Path, pid: u32) -> String {
    let code = "import ctypes,os,struct,sys\n\
        c=ctypes.CDLL(None,use_errno=True)\n\
        tree=c.syscall(428,-100,sys.argv[1].encode(),1|0o2000000)\n\
        assert tree>=0,os.strerror(ctypes.get_errno())\n\
        ns=os.open('/proc/%s/ns/user'%sys.argv[2],os.O_RDONLY)\n\
        attr=struct.pack('QQQQ',0x100000,0,0,ns)\n\
        r=c.syscall(442,tree,b'',0x1000,attr,len(attr))\n\
        print('ok' if r==0 else os.strerror(ctypes.get_errno()))\n";
    let mut python = Command::new("python3");
    must(python.args(["-c", code]).arg(path).arg(pid.to_string()))
        .trim()
        .to_owned()
}

#[test]
fn the_mount_cannot_be_idmapped_and_another_file_system_can() {
    need_root!();
    if !cfg!(target_arch = "x86_64") {
        skip!("the numbers of the calls are those of x86-64");
    }
    let mut world = SharedGateway::new();
    world.start();
    let namespace = UserNamespace::new(MAPPED);
    let tmpfs = world.chain.path("tmpfs");
    fs::create_dir(&tmpfs).expect("a directory");
    must(
        Command::new("mount")
            .args(["-t", "tmpfs", "qrng-test"])
            .arg(&tmpfs),
    );
    let control = idmap(&tmpfs, namespace.pid());
    let ours = idmap(&world.mount(), namespace.pid());
    must(Command::new("umount").arg(&tmpfs));
    assert_eq!(control, "ok", "this kernel can");
    assert_eq!(ours, "Invalid argument");
}

#[test]
fn an_nspawn_container_sees_the_mount_come_and_come_again() {
    if let Some(why) = container::impossible() {
        skip!("{why}");
    }
    let tree = match container::tree() {
        Ok(tree) => tree,
        Err(why) => skip!("no tree for a container: {why}"),
    };
    let mut world = SharedGateway::new();
    let container = Container::plain(&tree, &world.share());
    let see = || look(container.command_of("head"), Path::new("/mnt/qrng/raw"));
    assert_eq!(see(), Found::Nothing);
    world.start();
    assert_eq!(see(), Found::Bytes);
    world.restart();
    assert_eq!(see(), Found::Bytes);
    let later = Container::plain(&tree, &world.share());
    let file = Path::new("/mnt/qrng/raw");
    assert_eq!(look(later.command_of("head"), file), Found::Bytes);
    world.restart();
    assert_eq!(
        (see(), look(later.command_of("head"), file)),
        (Found::Bytes, Found::Bytes)
    );
}

#[test]
fn a_file_system_that_permitted_idmapped_mounts_would_not_be_told_who_reads() {
    need_root!();
    let directory = tempfile::tempdir().expect("a temporary directory");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("python/allow_idmap.py");
    let mut python = Command::new("python3");
    let told = must(python.arg(script).arg(directory.path()));
    if told == "0 0\n" {
        skip!("this kernel has no FUSE_ALLOW_IDMAP (Linux 6.12 has)");
    }
    assert_eq!(told, format!("0 {}\n", u32::MAX));
}
