//! Who is believed, and who gets in.

use super::*;

#[test]
fn whoever_is_not_the_appliance_is_told_and_gets_no_request() {
    let site = Site::new();
    let server = site.server();
    let mut source = site.source(&[&server]);
    let own = &site.authority;
    let host = ["127.0.0.1"];
    let good = own.server(&host).unwrap();
    let stranger = Authority::new("x").unwrap().server(&host).unwrap();
    let elsewhere = own.server(&["qrng-1.example", "127.0.0.9"]).unwrap();
    let mut mutual = speaks(good);
    mutual.client_authority = Some(own.certificate());
    let mut refuses = |speaks: &dyn Fn(), words: &[&str]| {
        // A connection that is kept would go on as it is.
        server.card().inject(Wrong::Gone).unwrap();
        failure(&mut source);
        speaks();
        let before = server.card().requests();
        server.card().clear();
        let watch = Watch::new();
        let failure = loop {
            watch.check();
            let (none, failure) = failure(&mut source);
            assert!(none.is_empty());
            if failure.fault == Fault::Unavailable && !failure.text.contains("nothing listens") {
                break failure;
            }
        };
        told(&failure, Fault::Unavailable, words);
        assert_eq!(server.card().requests(), before);
        server.speak(&site.tls()).unwrap();
        bytes(&mut source, SIZE);
    };
    refuses(
        &|| server.speak_old(&site.tls()).unwrap(),
        &["does not speak TLS 1.3", "update"],
    );
    for (tls, words) in [
        (speaks(stranger), ["nobody in ca-file", "put"]),
        (
            speaks(self_signed(&host, false).unwrap()),
            ["nobody in ca-file", "put"],
        ),
        (
            speaks(own.expired_server(&host).unwrap()),
            ["has expired", "clock"],
        ),
        (
            speaks(own.future_server(&host).unwrap()),
            ["not valid yet", "clock"],
        ),
        (
            speaks(elsewhere),
            ["for qrng-1.example, 127.0.0.9;", "urls"],
        ),
        (
            speaks(own.server(&[]).unwrap()),
            ["subject alternative name", "urls"],
        ),
        (mutual, ["wants a client certificate", "client-key"]),
    ] {
        refuses(&|| server.speak(&tls).unwrap(), &words);
    }
}

#[test]
fn an_appliance_may_want_to_know_us() {
    let site = Site::new();
    let mut tls = site.tls();
    tls.client_authority = Some(site.authority.certificate());
    let server = serve(1, &tls, false);
    let client = |authority: &Authority| {
        let issued = authority.client("collector").unwrap();
        Client::parse(issued.certificate.as_bytes(), &issued.key).unwrap()
    };
    let mut settings = site.settings(&[&server]);
    settings.trust.client = Some(client(&Authority::new("a stranger").unwrap()));
    let (_, refused) = failure(&mut start(&settings));
    let words = ["does not accept who we are", "client-certificate"];
    told(&refused, Fault::Unavailable, &words);
    assert_eq!(server.card().requests(), 0);
    settings.trust.client = Some(client(&site.authority));
    let got = bytes(&mut start(&settings), SIZE);
    assert!(got == Numbered::new(1).bytes(0, SIZE));
}

#[test]
fn a_certificate_of_its_own_may_be_the_authority() {
    let site = Site::new();
    let server = site.server();
    let mut settings = site.settings(&[&server]);
    let mut believe = |own: Identity| {
        let authorities = Authorities::parse(own.certificate.as_bytes()).unwrap();
        settings.trust.verification = Verification::By(authorities);
        server.speak(&speaks(own)).unwrap();
        start(&settings)
    };
    let host = ["127.0.0.1"];
    let mut source = believe(self_signed(&host, false).unwrap());
    bytes(&mut source, SIZE);
    // Not if it says that it may sign others, too.
    let mut source = believe(self_signed(&host, true).unwrap());
    let (_, refused) = failure(&mut source);
    told(&refused, Fault::Unavailable, &["CA:FALSE"]);
}

#[test]
fn only_what_is_named_insecure_takes_anybody() {
    let site = Site::new();
    let stranger = Authority::new("x").unwrap();
    let stranger = stranger.expired_server(&["qrng-1.example"]).unwrap();
    let server = serve(1, &speaks(stranger.clone()), false);
    let mut settings = site.settings(&[&server]);
    settings.trust.verification = Verification::Skipped;
    bytes(&mut start(&settings), SIZE);
    // TLS 1.3 all the same.
    server.speak_old(&speaks(stranger)).unwrap();
    let (_, old) = failure(&mut start(&settings));
    told(&old, Fault::Unavailable, &["does not speak TLS 1.3"]);

    let body = Numbered::new(9).bytes(0, SIZE);
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {SIZE}\r\n\r\n");
    let plain = answers([head.as_bytes(), &body].concat());
    let mut with = |url: String| {
        settings.addresses = vec![Address::parse(&url).unwrap()];
        start(&settings)
    };
    assert!(bytes(&mut with(format!("http://{plain}")), SIZE) == body);
    let (_, plain) = failure(&mut with(format!("https://{plain}")));
    told(
        &plain,
        Fault::Unavailable,
        &["does not speak TLS on this port", "urls"],
    );
}
