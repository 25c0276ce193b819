//! What an engine says, read.

use proptest::prelude::*;

use super::*;

struct Stub {
    dir: tempfile::TempDir,
    engine: Engine,
}

impl Stub {
    /// An engine that is a shell script. Another process writes it, so that no descriptor of ours keeps it busy.
    fn new(body: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let program = dir.path().join("engine");
        let write = r#"printf '#!/bin/sh\n%s\n' "$2" > "$1" && chmod 755 "$1""#;
        let made = Invocation::new("/bin/sh", dir.path())
            .arguments(["-c", write, "sh"])
            .arguments([&program])
            .arguments([body]);
        assert!(look(&made, None).unwrap().succeeded());
        let engine = Engine {
            program,
            root: dir.path().to_path_buf(),
            patience: Duration::from_secs(10),
            deadline: Duration::from_secs(10),
        };
        Self { dir, engine }
    }

    /// An engine that prints this.
    fn printing(output: &str) -> Self {
        Self::new(&format!("cat <<'END'\n{output}\nEND"))
    }
}

fn known<T: std::fmt::Debug>(known: Known<T>) -> T {
    match known {
        Known::Yes(value) => value,
        Known::Unknown(why) => panic!("unknown: {why}"),
    }
}

const DOCKER_PS: &str = r#"{"ID":"aa1","Image":"airbyte/db:1","Names":"airbyte-db","State":"running","Labels":"com.docker.compose.project=other,x=1,2"}
{"ID":"aa2","Image":"postgres","Names":"my-airbyte-db","State":"running","Labels":""}
{"ID":"aa3","Image":"postgres","Names":"airbytes","State":"exited","Labels":"a=airbyte"}
{"ID":"aa4","Image":"redis","Names":"web/airbyte,cache","State":"exited","Labels":"com.docker.compose.project=airbyte"}
{"ID":"aa5","Image":"redis","Names":"other","State":"exited","Labels":"com.docker.compose.project=airbyte-two"}
{"ID":"aa6","Image":"redis","Names":"web/airbyte,third","State":"exited","Labels":""}"#;

#[test]
fn finds_containers_of_docker_by_whole_words_and_project() {
    let found = known(
        Stub::printing(DOCKER_PS)
            .engine
            .containers("airbyte", None)
            .unwrap(),
    );
    let display: Vec<_> = found
        .iter()
        .map(|one| format!("{} {} {}", one.id, one.name, one.state))
        .collect();
    assert_eq!(display, ["aa1 airbyte-db running", "aa4 cache exited"]);
    assert_eq!(found[0].labels["x"], "1,2");
}

#[test]
fn finds_containers_of_podman() {
    let output = r#"[
          {"Id":"bb1","Image":"docker.io/x","Names":["dagster_web"],"State":"running","Labels":{"k":"v"}},
          {"Id":"bb2","Image":"docker.io/x","Names":["dagsterx"],"State":"running","Labels":null}
        ]"#;
    let found = known(Stub::printing(output).engine.containers("dagster", None).unwrap());
    assert_eq!(found.len(), 1);
    assert_eq!(
        (found[0].name.as_str(), found[0].labels["k"].as_str()),
        ("dagster_web", "v")
    );
}

#[test]
fn volumes_of_podmans_containers_are_asked_for() {
    let stub = Stub::new(
        r#"case "$1" in
ps) echo '[{"Id":"cc1","Names":["s"],"Mounts":["/data"]},{"Id":"cc2","Names":["t"],"Mounts":[]}]' ;;
inspect) [ "$*" = "inspect --type container cc1" ] && echo '[{"Id":"cc1","Mounts":[
  {"Type":"volume","Name":"airbyte-data","Destination":"/data"},{"Type":"bind","Destination":"/x"}]}]' ;;
esac"#,
    );
    let found = known(stub.engine.all_containers(None).unwrap());
    assert_eq!(found[0].volumes, ["airbyte-data"]);
    assert!(found[1].volumes.is_empty());
    let deaf = Stub::new(
        r#"[ "$1" = ps ] && echo '[{"Id":"cc1","Names":["s"],"Mounts":["/data"]}]' || { echo gone >&2; exit 1; }"#,
    );
    assert!(matches!(
        deaf.engine.all_containers(None).unwrap(),
        Known::Unknown(why) if why.contains("gone")
    ));
}

#[test]
fn finds_images_of_both_engines() {
    let output = r#"{"ID":"sha256:1","Repository":"airbyte/worker","Tag":"0.5"}
{"ID":"sha256:2","Repository":"ghcr.io/team/airbyte","Tag":"<none>"}
{"ID":"sha256:3","Repository":"<none>","Tag":"<none>"}
{"ID":"sha256:4","Repository":"myairbyte/worker","Tag":"1"}
{"ID":"sha256:5","Repository":"ghcr.io/airbyte/worker","Tag":"1"}
[{"Id":"6","Names":["docker.io/airbyte/server:2","localhost:5000/other:3"],"RepoTags":null},{"Id":"7","RepoTags":["localhost/airbyte:latest"]}]"#;
    let found = known(Stub::printing(output).engine.images("airbyte", None).unwrap());
    let display: Vec<_> = found.iter().map(Image::reference).collect();
    assert_eq!(
        display,
        [
            "airbyte/worker:0.5",
            "docker.io/airbyte/server:2",
            "ghcr.io/airbyte/worker:1",
            "localhost/airbyte:latest",
        ]
    );
}

#[test]
fn finds_volumes() {
    let output = r#"{"Name":"airbyte_data","Labels":""}
{"Name":"x_airbyte","Labels":"com.docker.compose.project=airbyte"}
{"Name":"my_airbyte","Labels":""}"#;
    let found = known(Stub::printing(output).engine.volumes("airbyte", None).unwrap());
    assert_eq!(
        found.iter().map(|one| one.name.as_str()).collect::<Vec<_>>(),
        ["airbyte_data", "x_airbyte"]
    );
}

#[test]
fn an_engine_that_does_not_answer_makes_it_unknown() {
    let unknown = |mut stub: Stub, patience: u64| {
        stub.engine.patience = Duration::from_millis(patience);
        match stub.engine.containers("airbyte", None).unwrap() {
            Known::Yes(found) => panic!("known: {found:?}"),
            Known::Unknown(why) => why,
        }
    };
    let why = unknown(
        Stub::new("echo 'Cannot connect to the daemon' >&2; exit 1"),
        10_000,
    );
    assert!(
        why.ends_with("exit status 1: Cannot connect to the daemon"),
        "{why}"
    );
    assert!(unknown(Stub::new("exec sleep 600"), 100).contains("took longer"));
    assert!(unknown(Stub::printing("WARNING: odd"), 10_000).contains("no JSON"));
    assert!(unknown(Stub::new("exec yes '{}'"), 300).contains("took longer"));
    let mut gone = Stub::new("true");
    gone.engine.program = gone.dir.path().join("gone");
    assert!(unknown(gone, 10_000).contains("gone"));
    assert!(known(Stub::new("true").engine.volumes("airbyte", None).unwrap()).is_empty());
    assert!(matches!(
        Engine::find("no-such-engine", Path::new("/nowhere")),
        Known::Unknown(_)
    ));
}

#[test]
fn a_prefix_that_names_nothing_is_refused() {
    let stub = Stub::new("true");
    for prefix in ["", "-a", "*", "a b", "/"] {
        assert_eq!(
            stub.engine.containers(prefix, None).unwrap_err().kind(),
            Kind::Invalid,
            "{prefix:?}"
        );
    }
}

#[test]
fn removes_with_one_command_and_tells_what_the_engine_says() {
    let permit = Permit::for_tests();
    let stub = Stub::new(r#"echo "$@" >> "$(dirname "$0")/calls""#);
    let ids = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect::<Vec<_>>();
    stub.engine
        .remove_containers(&permit, &ids(&["a1", "b2"]), None)
        .unwrap();
    stub.engine
        .remove_images(&permit, &ids(&["airbyte/db:1", "sha256:0a"]), None)
        .unwrap();
    stub.engine
        .remove_volumes(&permit, &ids(&["airbyte_data"]), None)
        .unwrap();
    stub.engine.remove_volumes(&permit, &[], None).unwrap();
    let bad = stub
        .engine
        .remove_containers(&permit, &ids(&["a1", "--all"]), None)
        .unwrap_err();
    assert!(bad.kind() == Kind::Invalid && !bad.changed_something());
    let calls = std::fs::read_to_string(stub.dir.path().join("calls")).unwrap();
    assert_eq!(
        calls,
        "rm --force a1 b2\nrmi airbyte/db:1 sha256:0a\nvolume rm airbyte_data\n"
    );

    let stub = Stub::new("echo first >&2; echo 'volume is in use' >&2; exit 1");
    let error = stub
        .engine
        .remove_volumes(&permit, &ids(&["v"]), None)
        .unwrap_err();
    assert!(error.message().ends_with("volume is in use") && error.changed_something());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_prefix_matches_itself_and_new_words_only(prefix in "[a-z][a-z0-9]{0,6}", rest in "[a-z0-9]{1,4}", sign in "[-_./]") {
        prop_assert!(names(&prefix, &prefix));
        let (word, longer, inner) = (format!("{prefix}{sign}{rest}"), format!("{prefix}{rest}"), format!("x{sign}{prefix}"));
        prop_assert!(names(&prefix, &word));
        prop_assert!(!names(&prefix, &longer));
        prop_assert_eq!(names(&prefix, &inner), prefix == "x");
    }
}
