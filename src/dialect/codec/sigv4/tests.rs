use super::*;

/// Amazon's example credentials.
fn example(token: Option<&str>) -> Credentials {
    Credentials {
        access_key: Secret::new("AKIDEXAMPLE"),
        secret_key: Secret::new("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"),
        session_token: token.map(Secret::new),
    }
}

const QUERY: &[(&str, &str)] = &[
    ("language-code", "en-US"),
    ("media-encoding", "pcm"),
    ("sample-rate", "16000"),
    ("session-id", "a b/c~é"),
];

fn transcribe<'a>(host: &'a str, region: &'a str) -> Presign<'a> {
    Presign {
        scheme: "wss",
        host,
        path: "/stream-transcription-websocket",
        query: QUERY,
        region,
        service: "transcribe",
        // 2026-01-31T12:00:00Z
        at: 1_769_860_800,
        expires: 300,
    }
}

/// The parameters in the order of their names: signers agree on it only for what they sign.
fn sorted(url: &str) -> (String, Vec<String>) {
    let (address, query) = url.split_once('?').unwrap();
    let mut query: Vec<_> = query.split('&').map(str::to_owned).collect();
    query.sort();
    (address.to_owned(), query)
}

#[test]
fn urls_are_those_of_botocore() {
    // botocore 1.44.5, by scripts/codec_vectors.py.
    for (region, token, theirs) in [
        (
            "us-east-1",
            None,
            "wss://transcribestreaming.us-east-1.amazonaws.com:8443/stream-transcription-websocket?language-code=en-US\
             &media-encoding=pcm&sample-rate=16000&session-id=a%20b%2Fc~%C3%A9&X-Amz-Algorithm=AWS4-HMAC-SHA256\
             &X-Amz-Credential=AKIDEXAMPLE%2F20260131%2Fus-east-1%2Ftranscribe%2Faws4_request\
             &X-Amz-Date=20260131T120000Z&X-Amz-Expires=300&X-Amz-SignedHeaders=host\
             &X-Amz-Signature=845e963ee1bf4d32db28350630eb0bb0fe63ac315f26aaeab2aef3412d0f3a5b",
        ),
        (
            "eu-central-1",
            Some("IQoJb3JpZ2luX2VjE+/x=="),
            "wss://transcribestreaming.eu-central-1.amazonaws.com:8443/stream-transcription-websocket?language-code=en-US\
             &media-encoding=pcm&sample-rate=16000&session-id=a%20b%2Fc~%C3%A9&X-Amz-Algorithm=AWS4-HMAC-SHA256\
             &X-Amz-Credential=AKIDEXAMPLE%2F20260131%2Feu-central-1%2Ftranscribe%2Faws4_request\
             &X-Amz-Date=20260131T120000Z&X-Amz-Expires=300&X-Amz-SignedHeaders=host\
             &X-Amz-Security-Token=IQoJb3JpZ2luX2VjE%2B%2Fx%3D%3D\
             &X-Amz-Signature=0ef6b1a2fde1a7066297ea29f97ec6a089d98f2a9f87503a7ad339848f0d2cd7",
        ),
    ] {
        let url = transcribe(&transcribe_host(region), region).url(&example(token)).unwrap();
        assert_eq!(sorted(url.reveal()), sorted(theirs));
        // From what a user would write.
        let plain = format!(
            "wss://{}/stream-transcription-websocket?language-code=en-US&session-id=a%20b/c~%C3%A9&media-encoding=pcm\
             &sample-rate=16000",
            transcribe_host(region)
        );
        assert_eq!(transcribe_url(&plain, None, &example(token), 1_769_860_800), Ok(url));
    }
}

/// <https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html>
#[test]
fn the_signature_is_that_of_amazons_documentation() {
    let presign = Presign {
        scheme: "https",
        host: "examplebucket.s3.amazonaws.com",
        path: "/test.txt",
        query: &[],
        region: "us-east-1",
        service: "s3",
        // 2013-05-24T00:00:00Z
        at: 1_369_353_600,
        expires: 86_400,
    };
    let credentials = Credentials {
        access_key: Secret::new("AKIAIOSFODNN7EXAMPLE"),
        secret_key: Secret::new("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"),
        session_token: None,
    };
    let url = presign.signed(&credentials, "UNSIGNED-PAYLOAD").unwrap();
    let signature = "aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404";
    assert!(url.reveal().ends_with(signature), "{}", url.reveal());
}

/// <https://docs.aws.amazon.com/general/latest/gr/signature-v4-examples.html>
#[test]
fn the_key_is_that_of_amazons_documentation() {
    let key = signing_key("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "20120215", "us-east-1", "iam");
    assert_eq!(hex(&key), "f4780e2d9f65fa895f9c67b32ce1baf0b0d8a43505a000a1a9e090d414db404d");
}

#[test]
fn nothing_prints_a_secret() {
    let credentials = example(Some("token"));
    let host = transcribe_host("us-east-1");
    let url = transcribe(&host, "us-east-1").url(&credentials).unwrap();
    let shown = format!("{credentials:?} {url:?} {url}");
    assert!(["AKID", "wJalr", "token\"", "845e"].iter().all(|s| !shown.contains(s)), "{shown}");
}

#[test]
fn what_cannot_be_signed_is_refused() {
    let good = transcribe("localhost:8443", "us-east-1");
    let refused = |p: Presign<'_>| p.url(&example(None)).unwrap_err();
    assert!(good.url(&example(None)).is_ok());
    let url = |url: &str| transcribe_url(url, None, &example(None), 0).unwrap_err();
    insta::assert_snapshot!(url("localhost"), @"not a URL that can be signed; expected wss://HOST/PATH?QUERY");
    insta::assert_snapshot!(url("ws://localhost:80/a?token=secret"), @"no AWS region: it is not in the host's name `localhost:80`; give it, for example us-east-1");
    insta::assert_snapshot!(url("ws://transcribestreaming.us-east-1.amazonaws.com/a?token=%FF"), @"the query has a `%` that stands for no UTF-8 text, so it cannot be signed");
    assert!(transcribe_url("ws://localhost:80/a", Some("us-east-1"), &example(None), 0).is_ok());
    insta::assert_snapshot!(refused(Presign { expires: 0, ..good }), @"a URL that is valid for 0 s; Transcribe takes 1 to 300 s");
    insta::assert_snapshot!(refused(Presign { expires: 301, ..good }), @"a URL that is valid for 301 s; Transcribe takes 1 to 300 s");
    insta::assert_snapshot!(refused(Presign { path: "/a?b", ..good }), @"the path `/a?b` cannot be signed; it begins with `/` and has letters, digits and -._~/ only");
    insta::assert_snapshot!(refused(Presign { host: "a/b", ..good }), @"`a/b` is not a host name; expected NAME or NAME:PORT");
    insta::assert_snapshot!(refused(Presign { region: "us east", ..good }), @"`us east` is not an AWS region, or `transcribe` not a service; expected for example us-east-1 and transcribe");
    insta::assert_snapshot!(refused(Presign { at: i64::MAX, ..good }), @"9223372036854775807 s since 1970 is no time that can be signed");
}

#[test]
fn a_server_takes_what_was_signed_with_its_key_and_in_time() {
    let at = 1_769_860_800;
    let url = "wss://localhost:9000/stream-transcription-websocket?language-code=en-US&media-encoding=pcm&session-id=a%20b";
    for credentials in [example(None), example(Some("session+token=="))] {
        let signed = transcribe_url(url, Some("us-east-1"), &credentials, at).unwrap();
        let target = signed.reveal().strip_prefix("wss://localhost:9000").unwrap().to_owned();
        let check =
            |target: &str, credentials: &Credentials, now| verify("localhost:9000", target, credentials, now);
        for now in [at, at - 60, at + 300] {
            assert_eq!(check(&target, &credentials, now), Ok(()));
        }
        assert!(check(&target, &credentials, at + 301).unwrap_err().contains("expired"));
        assert!(verify("localhost:9001", &target, &credentials, at).unwrap_err().contains("signature"));
        let other = Credentials { secret_key: Secret::new("other"), ..credentials.clone() };
        assert!(check(&target, &other, at).unwrap_err().contains("secret key"));
        let other = Credentials { access_key: Secret::new("other"), ..credentials.clone() };
        assert!(check(&target, &other, at).unwrap_err().contains("access key"));
        let changed = target.replace("en-US", "de-DE");
        assert!(check(&changed, &credentials, at).unwrap_err().contains("signature"));
        for unsigned in ["/", "/?X-Amz-Credential=AKIDEXAMPLE", "/?a=%zz"] {
            assert!(check(unsigned, &credentials, at).is_err(), "{unsigned}");
        }
    }
}
