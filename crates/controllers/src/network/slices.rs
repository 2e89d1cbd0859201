//! How endpoints are laid out in slices, with as few writes as possible. Pure, but for `carry_out`.
//!
//! Endpoints stay in the slice that they are in; new ones fill slices that are written anyway,
//! then one that has room for all of them, then new slices.
//! (Kubernetes `staging/src/k8s.io/endpointslice/reconciler.go`)

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use k8s_openapi::api::discovery::v1::{Endpoint, EndpointPort, EndpointSlice};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use reconcile::{Class, Ctx, Delete, Expectations, Failure, Key};

/// No slice has more endpoints than this.
pub(crate) const MAX: usize = 100;

/// What all slices of one owner have in common.
pub(crate) struct Form {
    pub(crate) namespace: String,
    pub(crate) generate_name: String,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) annotations: BTreeMap<String, String>,
    pub(crate) owner: OwnerReference,
}

/// Endpoints with the same ports and the same family of addresses.
#[derive(Debug, Clone)]
pub(crate) struct Group {
    pub(crate) address_type: &'static str,
    pub(crate) ports: Vec<EndpointPort>,
    pub(crate) endpoints: Vec<Endpoint>,
}

/// What is to be done.
#[derive(Debug)]
pub(crate) enum Step {
    Create(EndpointSlice),
    Update(EndpointSlice),
    Delete(Arc<EndpointSlice>),
}

/// The steps from the slices that exist to the groups that are wanted.
pub(crate) fn plan(form: &Form, groups: Vec<Group>, existing: &[Arc<EndpointSlice>]) -> Vec<Step> {
    let mut left: Vec<Arc<EndpointSlice>> = existing.to_vec();
    let mut steps = Vec::new();
    for group in groups {
        let (same, others): (Vec<_>, Vec<_>) =
            left.into_iter().partition(|slice| fits(slice, &group));
        left = others;
        group_steps(form, group, same, &mut steps);
    }
    steps.extend(left.into_iter().map(Step::Delete));
    steps
}

fn fits(slice: &EndpointSlice, group: &Group) -> bool {
    let mut ports = slice.ports.clone().unwrap_or_default();
    let mut wanted = group.ports.clone();
    ports.sort_by_key(port_key);
    wanted.sort_by_key(port_key);
    slice.address_type == group.address_type && ports == wanted
}

/// Name, number, protocol and application protocol of a port.
pub(crate) type PortKey = (String, i32, String, String);

/// What makes two ports the same.
pub(crate) fn port_key(port: &EndpointPort) -> PortKey {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    (
        text(&port.name),
        port.port.unwrap_or_default(),
        text(&port.protocol),
        text(&port.app_protocol),
    )
}

struct Draft {
    old: Arc<EndpointSlice>,
    endpoints: Vec<Endpoint>,
    changed: bool,
}

fn group_steps(form: &Form, group: Group, same: Vec<Arc<EndpointSlice>>, steps: &mut Vec<Step>) {
    let keep_empty = group.endpoints.is_empty();
    let mut wanted: HashMap<String, Endpoint> =
        group.endpoints.iter().map(|endpoint| (identity(endpoint), endpoint.clone())).collect();
    let mut drafts: Vec<Draft> =
        same.into_iter().map(|old| draft(form, old, &mut wanted)).collect();
    // In the order of the group, so that the same input always gives the same slices.
    let mut rest: Vec<Endpoint> = group
        .endpoints
        .iter()
        .filter_map(|endpoint| wanted.remove(&identity(endpoint)))
        .rev()
        .collect();
    drafts.sort_by_key(|draft| std::cmp::Reverse(draft.endpoints.len()));
    for draft in drafts.iter_mut().filter(|draft| draft.changed) {
        fill(&mut draft.endpoints, &mut rest);
    }
    if !rest.is_empty()
        && let Some(roomy) =
            drafts.iter_mut().find(|draft| draft.endpoints.len() + rest.len() <= MAX)
    {
        fill(&mut roomy.endpoints, &mut rest);
        roomy.changed = true;
    }
    let mut kept = 0;
    for draft in drafts {
        if draft.endpoints.is_empty() && !(keep_empty && kept == 0) {
            steps.push(Step::Delete(draft.old));
            continue;
        }
        kept += 1;
        if draft.changed {
            let mut slice = slice(form, &group, draft.endpoints);
            slice.metadata = updated(form, &draft.old.metadata);
            steps.push(Step::Update(slice));
        }
    }
    while !rest.is_empty() || kept == 0 {
        let mut endpoints = Vec::new();
        fill(&mut endpoints, &mut rest);
        steps.push(Step::Create(slice(form, &group, endpoints)));
        kept += 1;
    }
}

/// What stays of a slice.
fn draft(form: &Form, old: Arc<EndpointSlice>, wanted: &mut HashMap<String, Endpoint>) -> Draft {
    let here = old.endpoints.as_deref().unwrap_or_default();
    let endpoints: Vec<_> =
        here.iter().filter_map(|endpoint| wanted.remove(&identity(endpoint))).collect();
    let relabelled = old.metadata.labels.as_ref() != Some(&form.labels);
    let disowned = !old.metadata.owner_references.iter().flatten().any(|o| o.uid == form.owner.uid);
    let changed = endpoints != here || relabelled || disowned;
    Draft { old, endpoints, changed }
}

fn fill(endpoints: &mut Vec<Endpoint>, rest: &mut Vec<Endpoint>) {
    while endpoints.len() < MAX
        && let Some(endpoint) = rest.pop()
    {
        endpoints.push(endpoint);
    }
}

/// What makes an endpoint the same one as before, whatever its conditions.
fn identity(endpoint: &Endpoint) -> String {
    let target = endpoint.target_ref.as_ref();
    format!(
        "{}|{}|{}|{}",
        endpoint.addresses.join(","),
        target.and_then(|target| target.uid.as_deref()).unwrap_or_default(),
        target.and_then(|target| target.name.as_deref()).unwrap_or_default(),
        endpoint.hostname.as_deref().unwrap_or_default(),
    )
}

fn slice(form: &Form, group: &Group, endpoints: Vec<Endpoint>) -> EndpointSlice {
    EndpointSlice {
        metadata: ObjectMeta {
            generate_name: Some(form.generate_name.clone()),
            namespace: Some(form.namespace.clone()),
            labels: Some(form.labels.clone()),
            annotations: Some(form.annotations.clone()),
            owner_references: Some(vec![form.owner.clone()]),
            ..ObjectMeta::default()
        },
        address_type: group.address_type.to_owned(),
        endpoints: Some(endpoints),
        ports: Some(group.ports.clone()),
    }
}

fn updated(form: &Form, old: &ObjectMeta) -> ObjectMeta {
    let mut meta = old.clone();
    meta.labels = Some(form.labels.clone());
    let annotations = meta.annotations.get_or_insert_default();
    annotations.extend(form.annotations.clone());
    let owners = meta.owner_references.get_or_insert_default();
    if !owners.iter().any(|owner| owner.uid == form.owner.uid) {
        owners.push(form.owner.clone());
    }
    meta
}

/// Writes what was planned. Creations are expected until the cache shows them: their names are
/// the server's, so that nothing else would keep them from being made twice.
pub(crate) async fn carry_out(
    ctx: &Ctx,
    expectations: &Expectations,
    key: &Key,
    steps: Vec<Step>,
) -> Result<(), Failure> {
    for step in steps {
        match step {
            Step::Create(slice) => {
                expectations.expect_creations(key, 1);
                if let Err(failure) = ctx.writer.create(&slice).await {
                    expectations.creation_seen(key);
                    if failure.class != Class::NamespaceTerminating {
                        return Err(failure);
                    }
                }
            }
            Step::Update(slice) => {
                ctx.writer.update(&slice).await?;
            }
            Step::Delete(slice) => {
                let how = Delete::uid(slice.metadata.uid.as_deref());
                let key = Key::of(&slice.metadata);
                reconcile::or_gone(ctx.writer.delete::<EndpointSlice>(&key, how).await)?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form() -> Form {
        Form {
            namespace: "n".into(),
            generate_name: "web-".into(),
            labels: [("a".to_owned(), "b".to_owned())].into(),
            annotations: BTreeMap::new(),
            owner: OwnerReference { uid: "svc".into(), ..OwnerReference::default() },
        }
    }

    fn group(range: std::ops::Range<u32>) -> Group {
        let endpoint =
            |n| Endpoint { addresses: vec![format!("10.0.0.{n}")], ..Endpoint::default() };
        Group {
            address_type: "IPv4",
            ports: vec![EndpointPort { port: Some(80), ..EndpointPort::default() }],
            endpoints: range.map(endpoint).collect(),
        }
    }

    fn existing(name: &str, range: std::ops::Range<u32>) -> Arc<EndpointSlice> {
        let group = group(range);
        let mut made = slice(&form(), &group, group.endpoints.clone());
        made.metadata.name = Some(name.into());
        Arc::new(made)
    }

    fn check(group: Group, existing: &[Arc<EndpointSlice>], expected: &str) {
        let steps = plan(&form(), vec![group], existing);
        let words: Vec<_> = steps
            .iter()
            .map(|step| match step {
                Step::Create(slice) => format!("+{}", slice.endpoints.as_ref().unwrap().len()),
                Step::Update(slice) => {
                    format!(
                        "{}={}",
                        slice.metadata.name.as_deref().unwrap(),
                        slice.endpoints.as_ref().unwrap().len()
                    )
                }
                Step::Delete(slice) => format!("-{}", slice.metadata.name.as_deref().unwrap()),
            })
            .collect();
        assert_eq!(words.join(" "), expected);
    }

    #[test]
    fn slices_hold_a_hundred_and_are_written_sparingly() {
        check(group(0..0), &[], "+0");
        check(group(0..0), &[existing("a", 0..0)], "");
        check(group(0..250), &[], "+100 +100 +50");
        check(group(0..3), &[existing("a", 0..3)], "");
        check(group(0..4), &[existing("a", 0..3)], "a=4");
        check(group(0..2), &[existing("a", 0..3)], "a=2");
        check(group(0..0), &[existing("a", 0..3)], "a=0");
        check(group(0..0), &[existing("a", 0..3), existing("b", 3..4)], "a=0 -b");
        // What changed anyway takes what is new; the other slice is left alone.
        check(group(1..101), &[existing("a", 0..50), existing("b", 50..100)], "a=50");
        check(group(0..101), &[existing("a", 0..100)], "+1");
        check(group(0..50), &[existing("a", 0..50), existing("b", 50..60)], "-b");
    }

    #[test]
    fn other_ports_are_other_slices() {
        let mut other = (*existing("a", 0..3)).clone();
        other.ports = Some(vec![EndpointPort { port: Some(81), ..EndpointPort::default() }]);
        check(group(0..3), &[Arc::new(other)], "+3 -a");
    }

    #[test]
    fn a_changed_condition_rewrites_its_slice_only() {
        let mut changed = group(0..150);
        changed.endpoints[120].zone = Some("z".into());
        check(changed, &[existing("a", 0..100), existing("b", 100..150)], "b=50");
    }
}
