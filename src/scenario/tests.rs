//! Whole scenarios: what is refused and how it is said, what outranks what, what comes out again.

use super::*;
use crate::exit::Failure;

fn environment() -> Environment {
    [("TOKEN", "s3cret"), ("HOST", "voice.example.com")].into_iter().collect()
}

fn read(text: &str) -> Result<Scenario, Diagnostics> {
    load_in(&Source::inline("my.toml", text), &[], &environment())
}

fn set(text: &str, pairs: &[(&str, &str)]) -> Result<Scenario, Diagnostics> {
    let overrides: Vec<_> = pairs
        .iter()
        .map(|(key, value)| Override {
            key: (*key).to_owned(),
            value: (*value).to_owned(),
            flag: "--set",
            append: false,
        })
        .collect();
    load_in(&Source::inline("my.toml", text), &overrides, &environment())
}

fn problems(text: &str) -> String {
    match read(text) {
        Ok(_) => "no problems".to_owned(),
        Err(d) => d.to_string(),
    }
}

/// One line per problem, for tables of cases.
fn brief(text: &str) -> String {
    let here = std::env::current_dir().unwrap().display().to_string();
    let Err(found) = read(text) else {
        return format!("{text}\n    no problems");
    };
    let lines = found.items().iter().map(|d| {
        let place = d.position.map_or_else(|| "-".to_owned(), |(line, column)| format!("{line}:{column}"));
        let message = d.message.replace(&here, "DIR");
        format!("    {place} {message} | {}", d.help.as_deref().unwrap_or(""))
    });
    std::iter::once(text.to_owned()).chain(lines).collect::<Vec<_>>().join("\n")
}

#[test]
fn shipped_scenarios_have_no_problems() {
    for (name, _) in SHIPPED {
        let loaded = load_in(&Source::find(name).unwrap(), &[], &Environment::default());
        let scenario = loaded.unwrap_or_else(|d| panic!("{name}: {d}"));
        assert_eq!(scenario.name, *name);
    }
}

/// Without the comments that say where a value comes from.
fn values(effective: &str) -> Vec<&str> {
    effective.lines().map(|l| l.rsplit_once("  # ").map_or(l, |(value, _)| value).trim_end()).collect()
}

#[test]
fn the_effective_scenario_is_a_fixed_point() {
    let shipped = SHIPPED.iter().map(|(_, text)| (*text).to_owned());
    let others = [
        "fleet.stages = [\"10s:5\", { duration = \"1m\", devices = 7 }]".to_owned(),
        "fleet.arrivals = \"open\"\nfleet.rate = 2.5\nturn.count = 2".to_owned(),
        "[target]\nurl = \"wss://${HOST}/v1?key=${TOKEN}\"\n[target.headers]\nAuthorization = \"Bearer ${TOKEN}\"\n\
         [reference]\nfaults = { garbage = \"1%\" }\npartials = \"200ms\"\ntoken = \"${TOKEN}\""
            .to_owned(),
        "audio.codec = \"mulaw\"\nsession.keep_alive = \"off\"".to_owned(),
        "thresholds = [\"ttfa:med<1s\", { threshold = \"ttfa:max<9s\", abort_on_fail = true, delay = \"90s\" }]\n\
         gate = { undecided = \"extend\", extend_limit = \"2m\" }"
            .to_owned(),
        "[link]\npreset = \"mix(70: wifi-home, 30: cat1)\"\nrtt = \"80ms\"\nloss = \"1% / 60ms\"\ncontrol = \"20%\"\n\
         schedule = [\"20s: wifi-congested\", \"40s: base\"]\ntrace_down = \"cat1-drive\""
            .to_owned(),
    ];
    for text in shipped.chain(others) {
        let first = read(&text).unwrap_or_else(|d| panic!("{d}"));
        let second = read(&first.effective).unwrap_or_else(|d| panic!("{}\n{d}", first.effective));
        assert_eq!(values(&first.effective), values(&second.effective));
        assert_eq!(format!("{:?}", first.turn), format!("{:?}", second.turn));
        assert_eq!(format!("{:?}", first.fleet), format!("{:?}", second.fleet));
        assert_eq!(format!("{:?}", first.reference), format!("{:?}", second.reference));
        assert_eq!(first.network, second.network);
        assert_eq!(first.thresholds, second.thresholds);
        assert_eq!(format!("{:?}", first.gate), format!("{:?}", second.gate));
        assert_eq!(
            first.target.url.map(|u| u.reveal().to_owned()),
            second.target.url.map(|u| u.reveal().to_owned())
        );
    }
}

#[test]
fn effective_says_where_values_come_from_and_keeps_secrets() {
    let text = "[target]\nurl = \"wss://${HOST}/talk?key=hush&k=${TOKEN}\"\n\
                headers = { Authorization = \"Bearer ${TOKEN}\", X-Key = \"hush\" }\n\
                [reference]\ntoken = \"hush\"\n[fleet]\ndevices = 5\n";
    let s = set(text, &[("fleet.duration", "12s")]).unwrap_or_else(|d| panic!("{d}"));
    assert_eq!(s.target.shown, "wss://voice.example.com/talk?key=***&k=${TOKEN}");
    for secret in ["hush", "s3cret"] {
        assert!(!s.effective.contains(secret), "{}", s.effective);
        assert!(!format!("{s:?}").contains(secret), "{s:?}");
    }
    insta::assert_snapshot!(s.effective);
}

#[test]
fn everything_that_is_wrong_at_once() {
    insta::assert_snapshot!(problems(
        r#"name = "bad"
seeds = 3
thresholds = ["ttfa:p(95)<300ms", "tffa:p(95)<300ms", "ttfa:p(95)<300"]

[target]
url = "https://voice.example.com?token=hush"
headers = { Authorization = "Bearer ${NOT_SET}", X = "{tokn}" }
tokn = "hush"

[fleet]
devices = "many"
duration = 30
ramp = "5sec"
devcies = 4

[audio]
chunk = "50ms"
codec = "opsu"
bitrate = "1M"

[turn]
think = "lognormal(2s, 1s)"
barge_in = { share = "30%", after = "unifrom(1s, 2s)" }

[link]
preset = "lte"

[reference.faults]
garbge = "1%"
silence = 2.0
"#
    ));
}

#[test]
fn not_toml() {
    insta::assert_snapshot!(problems(
        "[fleet]\ndevices = 1O\nduration = \"30s\nramp = \"2s\"\n\n[target]\nurl = \"wss://h?key=hush\n"
    ));
}

#[test]
fn values_against_each_other() {
    let cases = [
        "audio.chunk = \"50ms\"",
        "audio.chunk = \"3s\"",
        "audio.frame = \"30ms\"\naudio.chunk = \"60ms\"",
        "audio.codec = \"pcm16\"\naudio.frame = \"30ms\"",
        "audio.rate = 44100",
        "audio.adaptive = [\"16k\", \"20k\", \"fast\", \"3k\"]",
        "audio.codec = \"pcm16\"\naudio.adaptive = [\"16k\"]",
        "fleet.warmup = \"30s\"",
        "fleet.ramp = \"1m\"",
        "fleet.stages = [\"10s:5\"]\nfleet.devices = 3",
        "fleet.stages = [\"10s:0\"]",
        "fleet.stages = [\"10s\", \"10s:many\", { duration = \"5s\" }, { devices = 1, durations = \"2s\" }]",
        "fleet.arrivals = \"open\"",
        "fleet.arrivals = \"open\"\nfleet.rate = 2\nturn.count = 1\nfleet.ramp = \"3s\"",
        "fleet.rate = 2",
        "target.url = \"wss://h\"\ntarget.client_cert = \"Cargo.toml\"",
        "target.dialect = \"plain\"",
        "target.dialect = \"plain\"\naudio.codec = \"opus\"\naudio.encoding = \"base64\"\nturn.end = \"vad\"\nturn.barge_in.share = 0.5",
        "target.dialect = \"plain\"\naudio.rate = 8000",
        "target.dialect = \"plain\"\nthresholds = [\"ttft:med<1s\"]",
        "thresholds = [\"barge_in_stop:p(95)<1s\"]",
        "thresholds = [{ threshold = \"tffa:med<1s\", abort_on_fail = true, delay = \"5s\" }]",
        "thresholds = [{ threshold = \"ttfa:avg<1s\", abort_on_fail = true }, { expression = \"ttfa:med<1s\" }]",
        "thresholds = [{ threshold = \"ttfa:med<1s\", delay = \"5s\" }, { threshold = \"ttfa:med<1s\", delay = 5 }, {}, 7]",
        "thresholds = [\"ttfa:med<1s abort_on_fail dlay=5s\", \"ttfa{group:cat1}:med<1s\"]",
        "thresholds = [\"ttfa{group:cat2}:med<1s\"]\nlink.preset = \"cat1\"\nlink.control = \"20%\"",
        "gate.extend_limit = \"1m\"",
        "gate.undecided = \"extend\"\nfleet.stages = [\"10s:5\", \"10s:0\"]",
        "turn.backchannel.share = \"10%\"",
        "turn.end = \"vad\"\nturn.backchannel = { share = 0.6, sounds = [] }\nturn.barge_in.share = 0.6",
        "target.url = \"http://localhost:80/x\"",
        "target.url = \"localhost:80\"",
        "target.url = \"ws://\"",
        "[target]\nurl = \"ws://me:hush@h/talk\"",
        "target.url = \"ws://h/{serial}?n={device}\"",
        "target.url = \"ws://h\"\ntarget.secure = true\ntarget.insecure = true",
        "target.insecure = true",
        "target.url = \"wss://h\"\ntarget.ca = \"no/such.pem\"",
        "target.data = \"no/such.csv\"",
        "audio.fixtures = [\"hello\", \"mine.wav\"]",
        "session.reconnect_base = \"20s\"",
        "name = \"a/b\"",
        "fleet = 3",
        "devices = 3",
        "turn.think = \"5\"\nturn.timeout = 10",
        "turn.count = \"${TOKEN}\"\nturn.think = \"${TOKEN}\"\nturn.end = \"${TOKEN}\"",
        "session.keep_alive = \"10ms\"\nsession.max_message = \"2 GiB\"\nvalidity.cpu = \"120%\"",
        "target.headers = { \"a b\" = \"x\", ok = \"line\\nbreak\" }",
        "fleet.devices = 2\nfleet.devices = 3",
        "fleet.devices = \"many\"\nplayback.max_stall_ratio = \"few\"\nreference.vad_level = true",
        "seed = 1979-05-27",
    ];
    insta::assert_snapshot!(cases.map(brief).join("\n"));
}

#[test]
fn flag_over_environment_over_file_over_default() {
    let file = "fleet.devices = 2\nfleet.duration = \"20s\"\nfleet.warmup = \"1s\"";
    let environment: Environment =
        [("VOXLOAD_FLEET_DEVICES", "3"), ("VOXLOAD_FLEET_DURATION", "21s")].into_iter().collect();
    let flags = [Override {
        key: "fleet.devices".to_owned(),
        value: "4".to_owned(),
        flag: "--devices",
        append: false,
    }];
    let s = load_in(&Source::inline("my.toml", file), &flags, &environment).unwrap();
    assert_eq!(s.fleet.devices, 4);
    assert_eq!(s.fleet.duration, Micros::from_secs(21));
    assert_eq!(s.fleet.warmup, Micros::from_secs(1));
    assert_eq!(s.fleet.graceful_stop, Micros::from_secs(15));
}

#[test]
fn fixtures_may_be_folders_and_patterns() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().display().to_string();
    for (path, fine) in
        [(folder.clone(), true), (format!("{folder}/*.wav"), true), (format!("{folder}/no.wav"), false)]
    {
        let loaded = set("", &[("audio.fixtures", &format!("[\"{path}\"]"))]);
        assert_eq!(loaded.is_ok(), fine, "{path}");
    }
}

#[test]
fn a_shorter_run_has_a_shorter_ramp() {
    let file = "[fleet]\nduration = \"30s\"\nramp = \"5s\"\nwarmup = \"5s\"";
    let fleet = |pairs| {
        let f = set(file, pairs).unwrap().fleet;
        [f.duration, f.ramp, f.warmup].map(|t| t.0 / 1_000)
    };
    assert_eq!(fleet(&[("fleet.duration", "20s")]), [20_000, 5_000, 5_000]);
    assert_eq!(fleet(&[("fleet.duration", "4s")]), [4_000, 1_000, 1_000]);
    assert_eq!(fleet(&[("fleet.duration", "4s"), ("fleet.ramp", "3s")]), [4_000, 3_000, 1_000]);
    assert_eq!(fleet(&[("fleet.stages", "2s:5,2s:5")]), [4_000, 0, 1_000]);
    // What was asked for together is not second-guessed.
    assert!(set(file, &[("fleet.duration", "4s"), ("fleet.ramp", "5s")]).is_err());
    assert!(read("[fleet]\nduration = \"4s\"\nramp = \"5s\"").is_err());
}

#[test]
fn the_environment_and_flags_are_checked_too() {
    let environment: Environment = [
        ("VOXLOAD_FLEET_DEVCIES", "3"),
        ("VOXLOAD_FLEET_DEVICES", "few"),
        ("VOXLOAD_LOG", "not ours"),
        ("VOXLOAD_REFERENCE_TOKN", "hush"),
    ]
    .into_iter()
    .collect();
    let flags = [
        ("--set", "fleet.durtion", "5s"),
        ("--duration", "fleet.duration", "5"),
        ("--set", "turn.think", "lognormal(1s)"),
    ]
    .map(|(flag, key, value)| Override {
        key: key.to_owned(),
        value: value.to_owned(),
        flag,
        append: false,
    });
    let text = load_in(&Source::inline("my.toml", ""), &flags, &environment).unwrap_err().to_string();
    assert!(!text.contains("hush"));
    insta::assert_snapshot!(text);
}

#[test]
fn bare_values_of_flags() {
    let s = set(
        "thresholds = [\"ttfa:p(95)<300ms\"]\n[target.headers]\nA = \"1\"",
        &[
            ("fleet.stages", "10s:5,20s:5"),
            ("target.headers.X-Device", "7"),
            ("target.headers.a", "2"),
            ("reference.faults.garbage", "1%"),
            ("audio.fixtures", "hello, why-sky"),
            ("audio.bitrate", "16k"),
            ("turn.barge_in.share", "20%"),
            ("session.voice", "42"),
            ("link.preset", "mix(1: cat1, 1: lte)"),
            ("thresholds", "turns.failed{group:cat1}:rate<1%, ttfa:p(95)<1s abort_on_fail delay=30s"),
        ],
    )
    .unwrap_or_else(|d| panic!("{d}"));
    assert_eq!(s.fleet.stages.len(), 2);
    let headers: Vec<_> = s.target.headers.iter().map(|(n, v)| (n.as_str(), v.reveal())).collect();
    assert_eq!(headers, [("a", "2"), ("X-Device", "7")]);
    assert_eq!(s.reference.faults, [(Fault::Garbage, 0.01)]);
    assert_eq!(s.audio.fixtures, ["hello", "why-sky"]);
    assert_eq!(s.audio.settings.bitrate, 16_000);
    assert_eq!(s.turn.barge_in.map(|b| b.share), Some(0.2));
    assert_eq!(s.session.voice, "42");
    assert_eq!(s.thresholds, ["turns.failed{group:cat1}:rate<1%", "ttfa:p(95)<1s"]);
    assert_eq!(s.gate.aborts, [Abort { threshold: 1, delay: Micros::from_secs(30) }]);
}

#[test]
fn defaults_follow_dialect_and_codec() {
    let s = read("target.dialect = \"plain\"").unwrap();
    assert_eq!(s.audio.settings.format, crate::dialect::plain::FORMAT);
    assert_eq!(s.audio.down, crate::dialect::plain::FORMAT);
    let s = read("audio.codec = \"mulaw\"").unwrap();
    assert_eq!((s.audio.settings.format.sample_rate, s.audio.down.sample_rate), (8_000, 8_000));
    let s = read("").unwrap();
    assert_eq!((s.audio.settings.format.sample_rate, s.audio.down.sample_rate), (16_000, 24_000));
    let s = read("reference.preset = \"cloud\"\nreference.llm = \"1s\"").unwrap();
    assert_eq!(s.reference.llm, Dist::Constant(Micros::from_secs(1)));
    assert_eq!(s.reference.stt, Dist::LogNormal(Micros::from_millis(250), Micros::from_millis(300)));
}

#[test]
fn values_per_device_come_from_csv() {
    let dir = tempfile::tempdir().unwrap();
    let write = |text: &str| std::fs::write(dir.path().join("d.csv"), text).unwrap();
    let source = Source {
        base: dir.path().to_owned(),
        ..Source::inline(
            "my.toml",
            "[target]\nurl = \"ws://h/{serial}\"\ndata = \"d.csv\"\nheaders = { Authorization = \"Bearer {token}\" }",
        )
    };
    write("serial,token\n a1 , hush\nb2,quiet\n");
    let s = load_in(&source, &[], &environment()).unwrap_or_else(|d| panic!("{d}"));
    assert_eq!(s.target.values.fill("{serial}/{token}/{device}", 3), "b2/quiet/3");
    assert!(!format!("{s:?}").contains("hush"));
    let messages = [
        "serial,token\na1,hush,more\n",
        "serial,token\n",
        "serial,tokens\na1,hush\n",
        "device,serial,token\n1,2,3\n",
        "serial,\n1,2\n",
    ]
    .map(|csv| {
        write(csv);
        let d = load_in(&source, &[], &environment()).unwrap_err();
        assert!(!d.to_string().contains("hush"));
        let lines: Vec<_> = d.items().iter().map(|d| d.message.as_str()).collect();
        lines.join("; ").replace(&dir.path().display().to_string(), "DIR")
    });
    insta::assert_snapshot!(messages.join("\n"));
}

#[test]
fn trouble_of_the_server_is_read_and_mistakes_are_pointed_at() {
    let s = read(
        "reference = { events = [\"20s: drain 1012 30%\", \"40s: refuse 50% for 10s\"], idle_cut = \"60s\" }",
    )
    .unwrap();
    let events: Vec<_> = s.reference.events.iter().map(ToString::to_string).collect();
    assert_eq!(events, ["20s: drain 1012 30%", "40s: refuse 50% for 10s"]);
    assert!(s.effective.contains("events = [\"20s: drain 1012 30%\", \"40s: refuse 50% for 10s\"]"));
    let s = read("").unwrap().reference;
    let secs = Micros::from_secs;
    assert_eq!((s.resume, s.resume_reply, s.idle_cut), (secs(30), ResumeReply::Continue, secs(0)));
    assert!(s.pongs && s.events.is_empty());
    let cases = [
        "[reference]\nevents = [\"20s: drain 1012\", \"30s: freze 2s\"]",
        "[reference]\nevents = [\"20: drain 1012\"]",
        "[reference]\nidle_cut = \"2m\"",
        "[reference]\nresume_reply = \"repeat\"",
    ];
    insta::assert_snapshot!(cases.map(brief).join("\n"), @r#"
[reference]
events = ["20s: drain 1012", "30s: freze 2s"]
    2:36 `freze` is not known | did you mean `freeze`?
[reference]
events = ["20: drain 1012"]
    2:12 a duration without a unit: `20` | expected a duration such as `300ms`, `2s`, `1m30s`
[reference]
idle_cut = "2m"
    2:12 `reference.idle_cut` has no effect: `reference.idle_timeout` closes such connections before | make `reference.idle_cut` shorter than `reference.idle_timeout`, or `reference.idle_timeout` longer
[reference]
resume_reply = "repeat"
    2:16 `repeat` is not a value of `reference.resume_reply` | did you mean `replay`? expected `continue`, `replay` or `drop`
"#);
}

#[test]
fn a_freeze_is_shorter_than_its_period_and_has_one() {
    let s = read("reference.freeze = { every = \"20s\", length = \"2s\" }").unwrap();
    let secs = Micros::from_secs;
    assert_eq!(s.reference.freeze, Some(Freeze { every: secs(20), length: secs(2) }));
    assert_eq!(read("").unwrap().reference.freeze, None);
    for (toml, wrong) in [
        ("reference.freeze.every = \"1s\"", "`reference.freeze.every` without"),
        ("reference.freeze = { every = \"1s\", length = \"1s\" }", "is not shorter"),
        ("reference.freeze.length = \"1s\"", "`reference.freeze.length` has no effect"),
    ] {
        let e = read(toml).unwrap_err().to_string();
        assert!(e.contains(wrong), "{e}");
    }
}

#[test]
fn faults_are_texts_or_tables() {
    let written = |s: Scenario| s.faults.iter().map(ToString::to_string).collect::<Vec<_>>();
    let text = "faults = [\"reset at=20s share=30% phase=speaking\", { kind = \"roam\", every = \"uniform(1s, 3s)\", share = 1 }]";
    let tables = "[[faults]]\nkind = \"reset\"\nat = \"20s\"\nshare = \"30%\"\nphase = \"speaking\"\n\
                  [[faults]]\nkind = \"roam\"\nevery = \"uniform(1s, 3s)\"\nphase = \"any\"\n";
    let both =
        ["reset at=20s share=0.3 phase=speaking", "roam every=uniform(1s, 3s) length=uniform(50ms, 5s)"];
    assert_eq!(written(read(text).unwrap()), both);
    assert_eq!(written(read(tables).unwrap()), both);
    let bare = "reset at=20s share=30% phase=speaking, roam every=uniform(1s, 3s)";
    assert_eq!(written(set("", &[("faults", bare)]).unwrap()), both, "commas of distributions do not divide");
    let variable = [("VOXLOAD_FAULTS", bare)].into_iter().collect();
    assert_eq!(written(load_in(&Source::inline("my.toml", ""), &[], &variable).unwrap()), both);
    assert!(written(set(text, &[("faults", "")]).unwrap()).is_empty(), "an empty text takes them away");
    let first = read(tables).unwrap();
    assert_eq!(written(read(&first.effective).unwrap()), both, "{}", first.effective);
    insta::assert_snapshot!(problems(
        "[[faults]]\nkind = \"rest\"\nat = \"20\"\n[[faults]]\nkind = \"roam\"\nlenght = \"5s\"\n\
         [[faults]]\nkind = \"slow_reader\"\nat = \"5s\"\nrate = \"${TOKEN}\"\nphase = 5\n"
    ));
    insta::assert_snapshot!(problems("faults = [\"reset at=20s share=130% phase=talking\", 7]"));
}

#[test]
fn policies_and_resumption_fit_each_other() {
    insta::assert_snapshot!(
        [
            "session = { reconnect = \"none\", reconnect_base = \"1s\", reconnect_reset = \"1s\" }",
            "session = { reconnect = \"none\", resume = true }",
            "session = { reconnect = \"fixed\", reconnect_base = \"1m\" }",
            "session = { reconnect = \"fixed\", reconnect_cap = \"1m\" }",
            "session = { reconnect = \"grpc\", reconnect_cap = \"500ms\" }",
            "session = { offline_speech = \"drop\", offline_limit = \"1s\" }",
            "session.resume = true\ntarget.dialect = \"plain\"",
        ]
        .map(brief)
        .join("\n")
    );
    let s = set(
        "session.offline_limit = \"3s\"",
        &[("session.offline_speech", "drop"), ("session.reconnect", "grpc")],
    )
    .unwrap();
    let (grpc, limit) = (s.session.reconnect, s.session.offline_limit);
    assert_eq!(
        (grpc, limit),
        (Reconnect::Grpc, Micros::ZERO),
        "a flag outranks what the file says for the other choice"
    );
    assert_eq!(
        (s.session.reconnect_base, s.session.reconnect_cap),
        (Micros::from_secs(1), Micros::from_secs(120))
    );
}

#[test]
fn the_error_of_a_bad_file_exits_with_2() {
    let failure = Failure::from(read("fleet.devices = 0").unwrap_err());
    assert_eq!(failure.exit, crate::exit::Exit::Usage);
    assert!(failure.message.starts_with("1 problem in my.toml\n"), "{failure}");
}

#[test]
fn the_starter_file_has_no_problems_and_names_every_key() {
    for (url, dialect) in
        [(Some("wss://voice.example.com/v1"), "envelope"), (Some("ws://h:1"), "plain"), (None, "envelope")]
    {
        let text = reference::starter(url, dialect, "mine");
        let s = read(&text).unwrap_or_else(|d| panic!("{d}"));
        assert_eq!(s.name, "mine");
        for key in keys::all() {
            let line = format!("{} = ", key.name());
            assert!(text.lines().any(|l| l.trim_start_matches("# ").starts_with(&line)), "{}", key.path);
        }
        // What is commented out is as valid as the rest: uncomment each section's defaults.
        for comment in text.lines().filter(|l| l.starts_with("# ") && l.contains(" = \"")) {
            assert!(comment.chars().count() <= 200, "{comment}");
        }
    }
}

#[test]
fn generated_files_are_up_to_date() {
    for (path, made, flag) in [
        ("docs/schema/scenario.json", reference::json_schema(), "--print-schema"),
        ("docs/scenario.md", reference::markdown(), "--print-reference"),
    ] {
        let file =
            std::fs::read_to_string(format!("{}/{path}", env!("CARGO_MANIFEST_DIR"))).unwrap_or_default();
        assert!(
            file == made,
            "{path} is out of date: regenerate it with `cargo run -- inspect {flag} > {path}`"
        );
    }
}

#[test]
fn the_schema_accepts_what_is_accepted_and_little_else() {
    let schema: serde_json::Value = serde_json::from_str(&reference::json_schema()).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let json = |toml: &str| serde_json::to_value(toml.parse::<toml::Table>().unwrap()).unwrap();
    for (name, text) in SHIPPED {
        let errors: Vec<_> = validator.iter_errors(&json(text)).map(|e| e.to_string()).collect();
        assert!(errors.is_empty(), "{name}: {errors:?}");
        let effective = read(text).unwrap().effective;
        assert!(validator.is_valid(&json(&effective)), "{name}: {effective}");
    }
    for bad in [
        "fleet.devcies = 3",
        "fleet.duration = 30",
        "fleet.duration = \"30 sec\"",
        "audio.codec = \"opsu\"",
        "turn.think = \"unifrom(1s, 2s)\"",
        "target.url = \"https://h\"",
        "reference.faults = { garbge = 0.1 }",
        "playback.max_stall_ratio = 2",
    ] {
        assert!(!validator.is_valid(&json(bad)), "{bad}");
        assert!(read(bad).is_err(), "{bad}");
    }
}

proptest::proptest! {
    #[test]
    fn no_file_panics(text in "(\\[?[a-z_.]{0,8}\\]?( = )?[\"\\[{]?[0-9a-z${}%:(), ]{0,12}[\"\\]}]?\n){0,6}") {
        if let Err(d) = read(&text) {
            proptest::prop_assert!(!d.to_string().is_empty());
        }
    }
}

#[test]
fn limits_of_validity_have_defaults() {
    let defaults = ValidityLimits::defaults();
    let path = |path: &str| keys::find(path).map(|k| k.default);
    assert_eq!(path("validity.cpu"), Some(keys::Fallback::Toml("0.9")));
    assert_eq!((defaults.cpu, defaults.steal, defaults.pressure), (0.9, 0.05, 1.0));
    assert_eq!(defaults.send_lateness_p99, Micros::from_millis(5));
    assert_eq!(defaults.send_lateness_max, Micros::from_millis(250));
}

#[test]
fn hosts_on_loopback_are_known_by_their_url() {
    let of = |url: &str| {
        let text = if url.is_empty() { String::new() } else { format!("target.url = \"{url}\"") };
        load_in(&Source::inline("a.toml", text), &[], &Environment::default()).unwrap().target.on_loopback()
    };
    for (url, here) in [
        ("", true),
        ("ws://localhost:8765/x", true),
        ("wss://127.3.2.1", true),
        ("ws://[::1]:80/", false),
        ("ws://example.com:80/?a=127.0.0.1", false),
        ("ws://10.0.0.1/", false),
    ] {
        assert_eq!(of(url), here, "{url}");
    }
}

#[test]
fn links_of_a_fleet() {
    use crate::network::{Jitter, Loss, Stack};
    let network = |text: &str| read(text).unwrap_or_else(|d| panic!("{d}")).network;
    assert!(network("").is_none() && network("link.preset = \"none\"").is_none());
    let one = network("link.preset = \"lte\"");
    assert_eq!((one.groups.len(), one.groups[0].name.as_str(), one.groups[0].weight), (1, "lte", 1.0));
    let mix = network(
        "[link]\npreset = \"mix(3: lte, 1: edge)\"\ncontrol = 0.2\nschedule = [\"20s: cat1\", \"40s: base\"]\nstack = \"lwip\"",
    );
    let named: Vec<_> = mix.groups.iter().map(|g| (g.name.as_str(), (g.weight * 100.0).round())).collect();
    assert_eq!(named, [("lte, changed", 60.0), ("edge, changed", 20.0), ("control", 20.0)]);
    let edge = mix.groups[1].profile.as_ref().unwrap();
    assert!(mix.groups[2].profile.is_none() && edge.stack == Stack::Lwip);
    let later: Vec<_> = edge.schedule.iter().map(|c| (c.at, c.down.delay)).collect();
    assert_eq!(
        later,
        [(Micros::from_secs(20), Micros::from_millis(50)), (Micros::from_secs(40), Micros::from_millis(150))]
    );
    let custom = network(
        "[link]\nrtt = \"81ms\"\njitter = \"uniform(5ms)\"\nloss = \"1% / 60ms\"\nup = \"2M\"\ntrace_down = \"lte-walk\"\nqueue = 9000",
    );
    let p = custom.groups[0].profile.as_ref().unwrap();
    assert_eq!(
        (p.name.as_str(), p.rtt(), p.up.rate, p.down.rate),
        ("custom", Micros::from_millis(81), Some(2_000_000), None)
    );
    assert_eq!(p.up.jitter, Jitter::Uniform(Micros::from_millis(5)));
    assert_eq!(p.down.loss, Loss::Burst { mean: 0.01, bad: Micros::from_millis(60) });
    assert_eq!(
        (p.down.queue, p.down.trace.as_ref().map(|t| t.name.as_str())),
        (Some(9_000), Some("lte-walk"))
    );
}

#[test]
fn links_that_cannot_be() {
    let cases = [
        "link.preset = \"wifi\"",
        "link.preset = \"mix(70: wifi-home, 20 cat1)\"",
        "link.preset = \"${HOST}\"",
        "link.rtt = 80",
        "link.jitter = \"lognormal(10ms, 5ms)\"",
        "link.loss = \"1% / 60\"",
        "link.down = \"5 Mbit\"",
        "[link]\ndown = \"5M\"\ntrace_down = \"cat1-drive\"",
        "link.trace_up = \"cat1\"",
        "link.trace_up = \"none.trace\"",
        "link.schedule = [\"20s: lte\", \"10s: edge\", \"5s: nothing\"]",
        "link.control = \"20%\"",
        "[link]\npreset = \"lte\"\ncontrol = 1.0",
        "[link]\nrtt = \"20ms\"\njitter = \"uniform(50ms)\"",
        "link.stack = \"lwp\"",
    ];
    insta::assert_snapshot!(cases.map(brief).join("\n"));
}
