//! The programs, in the table's order.

use crate::case::Output::{Bytes, Says};
use crate::case::{Case, case, check};
use crate::qemu;

/// More than a file without end gives until its reader is ended.
const ENDLESS: u64 = 1 << 32;

macro_rules! cases {
    ($($test:ident: $case:expr;)+) => {
        /// Every case, in the table's order.
        pub const ALL: &[Case] = &[$($case),+];

        $(
            #[test]
            fn $test() {
                if let Err(reason) = check(&$case) {
                    qrng_tests::skip!("{reason}");
                }
            }
        )+
    };
}

cases! {
    // --- coreutils and its like ---
    cat_record: case("cat", "cat /qrng/hex", Bytes(65)).takes(32);
    cat_shell: case("cat, in a shell's variable", "KEY=$(cat /qrng/base64); printf %s \"$KEY\"", Bytes(44))
        .needs(&["cat"]).takes(32);
    dd: case("dd", "dd if=/qrng/raw bs=64k count=4 iflag=fullblock status=none", Bytes(262_144)).takes(262_144);
    head: case("head", "head -c 100000 /qrng/raw", Bytes(100_000)).takes(100_000);
    tail: case("tail", "tail -c 8 /qrng/raw", Bytes(8))
        .takes(8)
        .note("It seeks to the end by the size, and reads from there");
    od: case("od", "od -An -v -N 32 -tx1 /qrng/raw", Bytes(98)).takes(32);
    cp: case("cp", "cp /qrng/raw copy && cat copy", Bytes(65_536))
        .takes(65_536)
        .note("It copies as much as the size says");
    shred: case(
        "shred --random-source",
        "truncate -s 100000 file && shred -x -n 1 --random-source=/qrng/raw file && cat file",
        Bytes(100_000),
    )
        .takes(102_400)
        .note("Whole blocks are taken");
    shuf: case("shuf --random-source", "seq 1000 | shuf --random-source=/qrng/raw", Bytes(3893)).takes(1250);
    sort: case("sort -R --random-source", "seq 1000 | sort -R --random-source=/qrng/raw", Bytes(3893)).takes(16);
    split: case("split", "head -c 4000 /qrng/raw | split -b 1000 && cat x??", Bytes(4000)).takes(4000);
    base64: case("base64", "head -c 30 /qrng/raw | base64", Bytes(41)).takes(30);
    sha256sum: case("sha256sum", "sha256sum < /qrng/uuid", Bytes(68)).takes(16);
    wc: case("wc -c", "timeout 3 wc -c /qrng/raw", Bytes(0))
        .fails(124).takes_from(1, ENDLESS)
        .note("The size is a multiple of the page, so it counts by reading, as on any device without end");
    cmp: case("cmp", "cmp /qrng/raw /qrng/raw", Bytes(0))
        .takes(0)
        .note("It calls two names of one inode equal, and reads nothing");
    sort_endless: case("sort, of a file without end", "timeout 3 sort /qrng/stream/hex > /dev/null", Bytes(0))
        .needs(&["sort"]).fails(124).takes_from(1, ENDLESS)
        .note("It waits for the end of the file, as with /dev/urandom: give it a part, by `head`");
    busybox: case("busybox dd", "busybox dd if=/qrng/raw bs=1000 count=10 2> /dev/null", Bytes(10_000))
        .version("busybox 2>&1").takes(10_000);
    busybox_head: case("busybox head", "busybox head -c 1000 /qrng/raw", Bytes(1000))
        .version("busybox 2>&1").takes(4096);
    xxd: case("xxd", "xxd -l 64 -p /qrng/raw", Bytes(131))
        .takes(4096)
        .note("It reads a block of 4096 and drops the rest");
    hexdump: case("hexdump", "hexdump -n 64 -v -e '1/1 \"%02x\"' /qrng/raw", Bytes(128))
        .takes(4096)
        .note("It reads a block of 4096 and drops the rest");
    socat: case("socat", "socat -u OPEN:/qrng/raw,readbytes=5000 -", Bytes(5000))
        .version("socat -V | tail -n +2").takes(5000);
    curl: case("curl", "curl -s file:///qrng/raw", Bytes(65_536)).takes(65_536).note("As much as the size says");
    tar: case("tar", "tar -cf - --absolute-names /qrng/raw | tar -xOf - --absolute-names", Bytes(65_536))
        .takes(65_536)
        .note("As much as the size says");
    gzip: case("gzip", "gzip -c < /qrng/hex | gzip -d", Bytes(65)).takes(32);

    // --- shells and languages ---
    bash: case("bash read -n", "read -r -n 64 KEY < /qrng/hex; printf %s \"$KEY\"", Bytes(64)).takes(32);
    bash_stream: case(
        "bash read, of a stream",
        "exec 3< /qrng/stream/hex; read -r A <&3; read -r B <&3; [ \"$A\" != \"$B\" ] && printf %s \"$A$B\"",
        Bytes(127),
    )
        .needs(&["bash"]).takes(4064)
        .note("The second line begins in the middle of a record: bash reads a block ahead and seeks back, which streams ignore. Read through a pipe");
    bash_pipe: case(
        "bash read, through a pipe",
        "head -n 2 /qrng/stream/hex | while read -r LINE; do printf %s \"$LINE\"; done",
        Bytes(128),
    )
        .needs(&["bash", "head"]).takes(4064);
    awk: case("gawk", "gawk 'NR > 3 { exit } { print }' /qrng/stream/hex", Bytes(195)).takes(2048);
    perl: case("perl sysread", "perl -e 'open(F, q(<:raw), shift) or die; sysread(F, $b, 1000); print $b' /qrng/raw", Bytes(1000))
        .version("perl -e 'print qq(perl $^V)'").takes(1000);
    perl_buffered: case("perl read", "perl -e 'open(F, q(<:raw), shift) or die; read(F, $b, 1000); print $b' /qrng/raw", Bytes(1000))
        .version("perl -e 'print qq(perl $^V)'").takes(8192);
    ruby: case("ruby", "ruby -e 'print IO.binread(ARGV[0], 1000)' /qrng/raw", Bytes(1000)).takes(1000);
    php: case("php", "php -r 'echo file_get_contents($argv[1], false, null, 0, 1000);' /qrng/raw", Bytes(1000))
        .takes(1000);
    lua: case("lua", "echo 'io.write(io.open(\"/qrng/raw\", \"rb\"):read(1000))' | lua5.4 -", Bytes(1000))
        .needs(&["lua5.4"]).version("lua5.4 -v").takes(4096);
    tcl: case(
        "tclsh",
        "echo 'set f [open /qrng/raw rb]; fconfigure stdout -translation binary; puts -nonewline [read $f 1000]' | tclsh",
        Bytes(1000),
    )
        .version("echo 'puts \"Tcl [info patchlevel]\"' | tclsh").takes(4096);
    python_open: case(
        "python3 os.open",
        "python3 -c 'import os, sys; os.write(1, os.read(os.open(sys.argv[1], os.O_RDONLY), 10000))' /qrng/raw",
        Bytes(10_000),
    )
        .takes(10_000);
    python_poll: case("python3 poll", "python3 read.py poll /qrng/raw", Bytes(10_000)).takes(10_000);
    python_epoll: case("python3 epoll", "python3 read.py epoll /qrng/raw", Bytes(10_000)).takes(10_000);
    python_asyncio: case("python3 asyncio", "python3 read.py asyncio /qrng/raw", Bytes(10_000)).takes(10_000);
    node: case(
        "node fs.createReadStream",
        "node -e 'fs.createReadStream(process.argv[1], { end: 99999 }).pipe(process.stdout)' /qrng/raw",
        Bytes(100_000),
    )
        .takes(100_000);
    go: case("go, os.File", "go run read.go /qrng/raw 100000", Bytes(100_000))
        .needs(&["go"]).version("go version").takes(100_000);
    sqlite: case("sqlite3", "sqlite3 :memory: \"select length(readfile('/qrng/hex'))\"", Says("65")).takes(32);

    // --- keys and certificates ---
    openssl_rand: case("openssl rand -rand", "openssl rand -rand /qrng/raw -hex 32", Bytes(65))
        .version("openssl version").takes(65_536)
        .note("As much as the size says, mixed into the generator; the output is the generator’s");
    openssl_genrsa: case(
        "openssl genrsa -rand",
        "openssl genrsa -rand /qrng/raw -out key 2048 && openssl rsa -in key -check -noout",
        Says("RSA key ok"),
    )
        .version("openssl version").takes(65_536);
    openssl_req: case(
        "openssl req -rand",
        "openssl req -x509 -newkey rsa:2048 -nodes -rand /qrng/raw -subj /CN=a -keyout key -out a && openssl x509 -in a -noout -subject",
        Says("CN = a"),
    )
        .version("openssl version").takes(65_536);
    openssl_enc: case(
        "openssl enc -pass file",
        "echo words | openssl enc -aes-256-cbc -pbkdf2 -pass file:/qrng/hex | wc -c",
        Says("32"),
    )
        .version("openssl version").takes(32);
    gpg: case(
        "gpg --passphrase-file",
        "echo words | gpg --batch --quiet --pinentry-mode loopback --passphrase-file /qrng/hex --symmetric > file && gpg --batch --list-packets file 2> log; gpgconf --kill all",
        Says("symkey enc packet"),
    )
        .takes(32);
    cryptsetup_volume: case(
        "cryptsetup luksFormat --volume-key-file",
        "truncate -s 32M image && echo words > key && cryptsetup luksFormat -q --type luks2 --pbkdf pbkdf2 --pbkdf-force-iterations 1000 --volume-key-file /qrng/raw --key-file key image && cryptsetup luksDump image",
        Says("LUKS header"),
    )
        .takes(64);
    cryptsetup_key: case(
        "cryptsetup luksFormat --key-file",
        "truncate -s 32M image && cryptsetup luksFormat -q --type luks2 --pbkdf pbkdf2 --pbkdf-force-iterations 1000 --key-file /qrng/raw --keyfile-size 64 image && cryptsetup luksDump image",
        Says("LUKS header"),
    )
        .takes(64);
    keytool_egd: case(
        "java, java.security.egd",
        "keytool -J-Djava.security.egd=file:/qrng/raw -genkeypair -keyalg EC -alias a -dname CN=a -storepass secret -keystore store && keytool -list -storepass secret -keystore store",
        Says("PrivateKeyEntry"),
    )
        .needs(&["java", "keytool"]).takes_from(32, 4096)
        .note("A seed; what is drawn is the generator’s");
    keytool_source: case(
        "java, securerandom.source",
        "echo securerandom.source=file:/qrng/raw > more && keytool -J-Djava.security.properties=more -genkeypair -keyalg EC -alias a -dname CN=a -storepass secret -keystore store && keytool -list -storepass secret -keystore store",
        Says("PrivateKeyEntry"),
    )
        .needs(&["java", "keytool"]).takes_from(32, 4096)
        .note("A seed; what is drawn is the generator’s");

    // --- servers ---
    apache: case("apache2 SSLRandomSeed", "bash serve.sh apache2 -f $PWD/httpd.conf -DFOREGROUND", Says("New, TLSv1.3"))
        .version("apache2 -v").takes(1088)
        .note("512 bytes for each of two readings of its configuration, 64 for the connection");
    apache_test: case(
        "apache2 -t",
        "openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=a -keyout key.pem -out certificate.pem 2> log; PORT=9443 apache2 -t -f $PWD/httpd.conf",
        Says("Syntax OK"),
    )
        .version("apache2 -v").takes(0)
        .note("The test of the configuration takes nothing");
    stunnel: case("stunnel RNDfile", "bash serve.sh stunnel stunnel.conf", Says("New, TLSv1.3"))
        .version("stunnel -version 2>&1 | grep platform").takes(0)
        .note("It never reads the file, and says “No PRNG seeding was required” in its log: OpenSSL has a seed of the kernel’s by then");
    nginx: case(
        "nginx ssl_session_ticket_key",
        "openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=a -keyout key.pem -out certificate.pem 2> log; sed -i s,TICKET,/qrng/raw, nginx.conf; nginx -t -p $PWD -c nginx.conf",
        Says("must be 48 or 80 bytes"),
    )
        .version("nginx -v").fails(1).takes(0)
        .note("It looks at the size, which is that of no key: make a copy of 80 bytes");
    nginx_key: case(
        "nginx ssl_session_ticket_key, a copy",
        "openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=a -keyout key.pem -out certificate.pem 2> log; head -c 80 /qrng/raw > ticket; sed -i s,TICKET,$PWD/ticket, nginx.conf; nginx -t -p $PWD -c nginx.conf",
        Says("test is successful"),
    )
        .needs(&["nginx"]).version("nginx -v").takes(80);
    haproxy: case(
        "haproxy tls-ticket-keys",
        "openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=a -keyout key.pem -out certificate.pem 2> log; cat key.pem certificate.pem > both.pem; sed -i s,TICKET,/qrng/stream/base64, haproxy.cfg; haproxy -c -f haproxy.cfg",
        Says("wrong sized key"),
    )
        .version("haproxy -v").fails(1).takes(2944)
        .note("Its keys have 48 or 80 bytes, the records 32: make a file of three keys");
    haproxy_key: case(
        "haproxy tls-ticket-keys, a copy",
        "openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=a -keyout key.pem -out certificate.pem 2> log; cat key.pem certificate.pem > both.pem; for i in 1 2 3; do head -c 48 /qrng/raw | base64 -w 0; echo; done > ticket; sed -i s,TICKET,$PWD/ticket, haproxy.cfg; haproxy -c -f haproxy.cfg",
        Says("Configuration file is valid"),
    )
        .needs(&["haproxy"]).version("haproxy -v").takes(144);

    // --- tests of generators, and the kernel's pool ---
    rngtest: case("rngtest", "rngtest -c 100 < /qrng/raw 2>&1 | grep 'bits received'", Says("2000032")).takes(250_004);
    ent: case("ent", "head -c 100000 /qrng/raw | ent", Says("Entropy = 7.99"))
        .version("dpkg-query -W -f '${Package} ${Version}' ent").takes(100_000);
    ent_endless: case("ent, of a file without end", "timeout 3 ent /qrng/raw", Bytes(0))
        .needs(&["ent"]).version("dpkg-query -W -f '${Package} ${Version}' ent").fails(124).takes_from(1, ENDLESS)
        .note("It waits for the end of the file, as with /dev/urandom: give it a part, by `head`");
    dieharder: case("dieharder -g 200", "dieharder -g 200 -d 100 -t 10000 -p 10 < /qrng/raw", Says("sts_monobit"))
        .version("dieharder -h | grep version").takes(802_816);
    dieharder_file: case("dieharder -g 201", "dieharder -g 201 -f /qrng/raw -d 100 -t 10000 -p 10", Says("sts_monobit"))
        .version("dieharder -h | grep version").takes(802_816)
        .note("It rewinds after 65,536 bytes, which gives fresh bytes");
    rngd: case("rngd -r", "touch out; timeout 5 rngd -f -r /qrng/raw -o out -p $PWD/pid", Says("RNDADDENTROPY failed"))
        .version("rngd -V").fails(1).takes_from(8, 4096)
        .note("It gives to the kernel’s pool alone, by an ioctl that a plain file refuses. The test leaves this machine’s pool alone");

    // --- the generator of a virtual machine ---
    qemu_random: case(
        "QEMU rng-random",
        "qemu-system-x86_64 -object rng-random,filename=/qrng/raw,id=rng -device virtio-rng-pci,rng=rng ...; in the guest: head -c 4096 /dev/hwrng",
        Bytes(4096),
    )
        .by(qemu::random).takes_from(4096, 65_536)
        .note("The guest’s kernel takes some for itself. What the guest reads is, byte by byte, what the gateway has");
    qemu_egd: case(
        "QEMU rng-egd",
        "qemu-system-x86_64 -chardev socket,id=egd,path=/run/qrng-egd/egd.socket -object rng-egd,chardev=egd,id=rng -device virtio-rng-pci,rng=rng ...; in the guest: head -c 4096 /dev/hwrng",
        Bytes(4096),
    )
        .by(qemu::egd).takes_from(4096, 65_536)
        .note("The socket is that of `qrng-adapter egd`. The guest’s kernel takes some for itself. What the guest reads is, byte by byte, what the gateway has");
}
