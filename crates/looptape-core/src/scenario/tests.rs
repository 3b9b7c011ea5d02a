use super::*;
use crate::spread::Spread;

fn message(text: &str) -> String {
    read(text, &[]).unwrap_err().to_string()
}

fn with(text: &str, settings: &[(&str, &str)]) -> Result<Scenario, ScenarioError> {
    let settings: Vec<Setting> = settings.iter().map(|(key, value)| Setting::new(key, value)).collect();
    read(text, &settings)
}

#[test]
fn everything_has_a_default() {
    let scenario = read("", &[]).unwrap();
    assert_eq!((scenario.seed, scenario.phases.len(), scenario.needs()), (1, 1, Needs::Nothing));
    assert_eq!((scenario.traffic.model(), scenario.retry.profile), ("gpt-4o-mini", Profile::OpenaiPython));
    let anthropic = read("traffic.wire = \"anthropic.messages\"", &[]).unwrap();
    assert_eq!(
        (anthropic.traffic.provider(), anthropic.retry.profile),
        ("anthropic", Profile::AnthropicPython)
    );
}

#[test]
fn every_preset_is_a_scenario_with_a_name() {
    for preset in PRESETS {
        let scenario = read(preset.text, &[]).unwrap_or_else(|error| panic!("{}: {error}", preset.name));
        assert!(scenario.name.is_some() && scenario.phases.iter().all(|phase| phase.name.is_some()));
    }
    assert!(preset("spike").unwrap_err().to_string().contains("spike-x3, spike-x5"));
}

#[test]
fn a_mistake_has_its_line_and_the_nearest_name() {
    insta::assert_snapshot!(message("seed = 1\n[traffic]\nmodle = \"gpt-4o\"\n"), @r#"
    line 3, column 1: unknown key `modle`: did you mean `model`?
    3 | modle = "gpt-4o"
      | ^
    "#);
    insta::assert_snapshot!(message("[[phase]]\nname = \"a\"\nexecutor = \"constant-rate\"\n"), @r#"
    line 3, column 12: unknown value `constant-rate`: did you mean `constant-arrival-rate`?
    3 | executor = "constant-rate"
      |            ^
    "#);
    let unknown = message("colour = 1");
    assert!(unknown.contains("unknown key `colour`: there are name, seed, traffic"), "{unknown}");
    assert!(message("[twin.limits]\ntmp = 5\n").contains("did you mean `tpm`?"));
    let gate = message("[gates]\nloops_failed = { threshold = \"count<1\", abort_on_fial = true }\n");
    assert!(gate.contains("line 2") && gate.contains("did you mean `abort_on_fail`?"), "{gate}");
    assert!(message("[gates]\nloops_faild = \"count<1\"\n").contains("nearest: loops_failed"));
    assert!(message("seed = ").starts_with("line 1, column "));
}

#[test]
fn what_cannot_be_is_refused_with_its_reason() {
    let phase = |rest: &str| message(&format!("[[phase]]\n{rest}\n"));
    for (rest, expected) in [
        ("executor = \"constant-arrival-rate\"\nduration = \"1m\"", "`rate` is missing"),
        ("executor = \"constant-arrival-rate\"\nrate = 0\nduration = \"1m\"", "no loop would come"),
        ("executor = \"constant-arrival-rate\"\nrate = -3\nduration = \"1m\"", "`rate = -3` cannot be"),
        (
            "executor = \"constant-arrival-rate\"\nrate = 2e9\nduration = \"1m\"",
            "the most that are simulated",
        ),
        ("executor = \"constant-arrival-rate\"\nrate = nan\nduration = \"1m\"", "`rate = NaN` cannot be"),
        ("executor = \"constant-arrival-rate\"\nrate = 3\nduration = \"0s\"", "`duration` is 0"),
        ("executor = \"constant-arrival-rate\"\nrate = 3\nduration = \"soon\"", "no length of time"),
        ("executor = \"constant-arrival-rate\"\nrate = 3", "`duration` is missing"),
        (
            "executor = \"ramping-arrival-rate\"\nstages = [{ duration = \"1m\", target = 0 }]",
            "the rate is 0",
        ),
        ("executor = \"ramping-arrival-rate\"", "`stages` is missing"),
        ("executor = \"ramping-vus\"\nstages = [{ duration = \"1m\", target = 1.5 }]", "no number of users"),
        ("executor = \"constant-vus\"\nvus = 0\nduration = \"1m\"", "`vus` is 0"),
        ("executor = \"constant-vus\"\nrate = 3\nduration = \"1m\"", "`rate` means nothing to constant-vus"),
        ("executor = \"shared-iterations\"\niterations = 0", "`iterations` is 0"),
        ("name = \"x\"", "missing field `executor`"),
    ] {
        let got = phase(rest);
        assert!(got.contains(expected) && got.starts_with("line "), "{rest}: {got}");
    }
    for (text, expected) in [
        ("budget.max_usd = 0", "no call could be made"),
        ("budget.max_usd = -1.0", "no amount of US dollars"),
        ("traffic.traces = []", "`traces` is empty"),
        ("[traffic]\ntag = \"nightly\"\nsteps = 3", "`steps` cannot stand beside `traces`"),
        ("[traffic]\ntraces = [{ trace = \"last\", weight = 0 }]", "write a number above 0"),
        ("[traffic]\nworkload = { file = \"a\", speed = 0 }", "`speed = 0` cannot be"),
        ("[traffic]\nwire = \"cohere.v2.chat\"", "unknown value `cohere.v2.chat`"),
        ("[gates]\nloop_duration = \"max<1\"", "nearest: loop_duration_ms"),
        ("traffic.steps = -1", "cannot be"),
    ] {
        let got = message(text);
        assert!(got.contains(expected), "{text}: {got}");
    }
}

#[test]
fn values_are_set_by_their_keys() {
    let text = "[[phase]]\nname = \"peak\"\nexecutor = \"constant-vus\"\nduration = \"1m\"\n\
                [[phase]]\nexecutor = \"constant-vus\"\nduration = \"1m\"\n";
    let vus = |settings: &[(&str, &str)]| -> Vec<f64> {
        let of = |phase: &Phase| match &phase.executor {
            Executor::Vus { vus } => vus.at(0),
            other => panic!("{other:?}"),
        };
        with(text, settings).unwrap().phases.iter().map(of).collect()
    };
    assert_eq!(vus(&[("phase.vus", "7")]), [7.0, 7.0]);
    assert_eq!(vus(&[("phase.peak.vus", "7")]), [7.0, 1.0]);
    assert_eq!(vus(&[("phase.2.vus", "7"), ("phase.1.vus", "2")]), [2.0, 7.0]);
    let set =
        with(text, &[("limits.tpm", "30k"), ("retry.max", "0"), ("traffic.steps", "{ p50 = 3, p95 = 9 }")]);
    let set = set.unwrap();
    assert_eq!((set.twin.limits.tpm.map(|limit| limit.get()), set.retry.policy.max), (Some(30_000), 0));
    assert!(
        matches!(&set.traffic.source, TrafficSource::Generated(g) if g.steps == Spread::log_normal(3.0, 9.0).unwrap())
    );
    let wrong = |key: &str, value: &str| with(text, &[(key, value)]).unwrap_err().to_string();
    assert_eq!(wrong("limits.tmp", "3"), "limits.tmp=3: unknown key `tmp`: did you mean `tpm`?");
    assert_eq!(wrong("sed", "3"), "sed=3: there is no `sed` in a scenario: did you mean `seed`?");
    assert!(wrong("retry.max", "many").starts_with("retry.max=many: invalid type"));
    assert!(wrong("phase.rate", "3").contains("means nothing to constant-vus"));
}

#[test]
fn several_values_are_combined() {
    let read = |text: &str| Variation::parse(text).unwrap();
    let all = Variation::combinations(&[read("limits.tpm=30k,100k"), read("retry.max=0,2,5")]);
    let words: Vec<String> = all
        .iter()
        .map(|settings| settings.iter().map(|one| one.written.as_str()).collect::<Vec<_>>().join(" "))
        .collect();
    assert_eq!(words, ["30k 0", "30k 2", "30k 5", "100k 0", "100k 2", "100k 5"]);
    assert_eq!(read("traffic.steps={ p50 = 3, p95 = 9 },5").settings.len(), 2);
    assert!(Variation::parse("limits.tpm").is_err() && Variation::parse("limits.tpm=").is_err());
    assert_eq!(Variation::combinations(&[]), [Vec::new()]);
}
