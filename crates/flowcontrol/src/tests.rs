//! Flow control as the server meets it: schemas, queues, refusals, lending.

use std::sync::Arc;
use std::time::Duration;

use api::k8s_openapi::api::flowcontrol::v1::{FlowSchema, PriorityLevelConfiguration};
use api::typed::Kind as _;
use apiserver::{FlowControl, FlowPermit, FlowRefusal, FlowRequest};
use auth::{Attributes, ResourceAttributes, Target, UserInfo};
use serde_json::json;

use crate::Fairness;

fn get(user: &str, groups: &[&str]) -> Attributes {
    let target = ResourceAttributes {
        verb: "get".into(),
        version: "v1".into(),
        resource: "pods".into(),
        namespace: "default".into(),
        ..ResourceAttributes::default()
    };
    Attributes { user: UserInfo::named(user, groups), target: Target::Resource(target) }
}

fn header(headers: &[(http::HeaderName, http::HeaderValue)], name: &str) -> String {
    let found = headers.iter().find(|(own, _)| own.as_str() == name);
    found.map(|(_, value)| value.to_str().unwrap().to_owned()).unwrap_or_default()
}

/// A level `small` for alice, with a seat or two and one queue.
fn small(fairness: &Fairness, shares: i32, response: serde_json::Value) {
    let level = json!({
        "metadata": {"name": "small", "uid": "level-uid"},
        "spec": {"type": "Limited", "limited": {
            "nominalConcurrencyShares": shares, "lendablePercent": 0, "borrowingLimitPercent": 0,
            "limitResponse": response,
        }},
    });
    let schema = json!({
        "metadata": {"name": "small", "uid": "schema-uid"},
        "spec": {
            "matchingPrecedence": 50,
            "priorityLevelConfiguration": {"name": "small"},
            "rules": [{
                "subjects": [{"kind": "User", "user": {"name": "alice"}}],
                "resourceRules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"],
                    "namespaces": ["*"], "clusterScope": true}],
            }],
        },
    });
    let level = PriorityLevelConfiguration::decode(level.to_string().as_bytes()).unwrap();
    let schema = FlowSchema::decode(schema.to_string().as_bytes()).unwrap();
    fairness.configure(&[Arc::new(schema)], &[Arc::new(level)]);
}

async fn admit(fairness: &Fairness, who: &Attributes) -> Result<FlowPermit, FlowRefusal> {
    let request = FlowRequest { wait_max: Duration::from_secs(15), ..FlowRequest::of(who) };
    fairness.admit(&request).await
}

const QUEUE: &str = r#"{"type":"Queue","queuing":{"queues":1,"handSize":1,"queueLengthLimit":1}}"#;

#[tokio::test(start_paused = true)]
async fn queues_fill_time_out_and_go_on() {
    // Two levels with shares: 5 of catch-all and 1 here, so one seat of six.
    let fairness = Arc::new(Fairness::new(6));
    small(&fairness, 1, serde_json::from_str(QUEUE).unwrap());
    let alice = get("alice", &[]);
    let first = admit(&fairness, &alice).await.ok().unwrap();
    assert_eq!(header(&first.headers, "x-kubernetes-pf-flowschema-uid"), "schema-uid");
    assert_eq!(header(&first.headers, "x-kubernetes-pf-prioritylevel-uid"), "level-uid");
    let (own, asks) = (fairness.clone(), alice.clone());
    let second = tokio::spawn(async move { admit(&own, &asks).await });
    tokio::task::yield_now().await;
    // The queue holds one; others are not kept waiting by this level.
    let third = admit(&fairness, &alice).await.err().unwrap();
    assert_eq!(third.retry_after_seconds, 1);
    assert_eq!(header(&third.headers, "x-kubernetes-pf-flowschema-uid"), "schema-uid");
    assert!(admit(&fairness, &get("bob", &[])).await.is_ok());
    assert!(admit(&fairness, &get("alice", &["system:masters"])).await.is_ok());
    let tables = ["dump_priority_levels", "dump_queues", "dump_requests"];
    for table in tables {
        assert!(fairness.dump(table).unwrap().contains("small"), "{table}");
    }
    drop(first);
    let second = second.await.unwrap().ok().unwrap();
    // A quarter of the request's time, then no more.
    let began = tokio::time::Instant::now();
    assert!(admit(&fairness, &alice).await.is_err());
    assert_eq!(began.elapsed(), Duration::from_secs(15));
    // What gives up leaves its place.
    let gone = tokio::time::timeout(Duration::from_secs(1), admit(&fairness, &alice)).await;
    assert!(gone.is_err());
    drop(second);
    assert!(admit(&fairness, &alice).await.is_ok());
    let metrics = fairness.metrics();
    for line in [
        r#"apiserver_flowcontrol_rejected_requests_total{flow_schema="small",priority_level="small",reason="queue-full"} 1"#,
        r#"apiserver_flowcontrol_rejected_requests_total{flow_schema="small",priority_level="small",reason="time-out"} 1"#,
        r#"apiserver_flowcontrol_rejected_requests_total{flow_schema="small",priority_level="small",reason="cancelled"} 1"#,
        r#"apiserver_flowcontrol_dispatched_requests_total{flow_schema="small",priority_level="small"} 3"#,
        r#"apiserver_flowcontrol_nominal_limit_seats{priority_level="small"} 1"#,
        r#"apiserver_flowcontrol_current_executing_requests{flow_schema="small",priority_level="small"} 0"#,
    ] {
        assert!(metrics.contains(line), "{line}\n{metrics}");
    }
}

#[tokio::test(start_paused = true)]
async fn refusing_levels_exempt_callers_and_parts_of_the_process() {
    let fairness = Fairness::new(6);
    small(&fairness, 1, json!({"type": "Reject"}));
    let alice = get("alice", &[]);
    let held = admit(&fairness, &alice).await.ok().unwrap();
    assert!(admit(&fairness, &alice).await.is_err());
    let own = FlowRequest { is_in_process: true, ..FlowRequest::of(&alice) };
    assert!(fairness.admit(&own).await.is_ok());
    let exec = FlowRequest { is_long_running: true, ..FlowRequest::of(&alice) };
    assert!(fairness.admit(&exec).await.is_ok());
    let master = get("root", &["system:masters"]);
    let all: Vec<_> = futures_of(&fairness, &master, 100).await;
    assert!(all.iter().all(Result::is_ok));
    drop(held);
    assert!(admit(&fairness, &alice).await.is_ok());
}

async fn futures_of(
    fairness: &Fairness,
    who: &Attributes,
    count: usize,
) -> Vec<Result<FlowPermit, FlowRefusal>> {
    let mut all = Vec::new();
    for _ in 0..count {
        all.push(admit(fairness, who).await);
    }
    all
}

#[tokio::test(start_paused = true)]
async fn seats_go_to_who_wants_them_and_come_back() {
    let fairness = Fairness::new(600);
    let limit = |name: &str| {
        let line =
            format!("apiserver_flowcontrol_current_limit_seats{{priority_level=\"{name}\"}} ");
        let metrics = fairness.metrics();
        let rest = metrics.split_once(&line).unwrap().1;
        rest.split_once('\n').unwrap().0.parse::<u32>().unwrap()
    };
    let nominal = limit("workload-low");
    assert_eq!(nominal, 245);
    let account = get("system:serviceaccount:a:b", &["system:serviceaccounts"]);
    let held = futures_of(&fairness, &account, 240).await;
    assert!(held.iter().all(Result::is_ok));
    tokio::time::advance(Duration::from_secs(10)).await;
    fairness.adjust();
    assert!(
        limit("workload-low") > nominal && limit("workload-high") < 98,
        "{}",
        fairness.metrics()
    );
    drop(held);
    for _ in 0..2000 {
        tokio::time::advance(Duration::from_secs(10)).await;
        fairness.adjust();
    }
    assert!(limit("workload-low") < nominal, "idle levels lend again");
}
