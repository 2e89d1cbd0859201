//! The node authorizer's decision. Texts are upstream's: people search for them.
//! (Kubernetes `plugin/pkg/auth/authorizer/node`)

use super::{Graph, Thing};
use crate::rbac::Rule;
use crate::{Decision, ResourceAttributes};

const LEASES: &str = "kube-node-lease";

/// What a node may do. `rules` are those of the role `system:node`, which hold for whatever is not
/// divided between nodes.
#[must_use]
pub fn decide(graph: &Graph, rules: &[Rule], node: &str, wanted: &ResourceAttributes) -> Decision {
    let ask = Ask { graph, node, wanted };
    let answer = match (wanted.group.as_str(), wanted.resource.as_str()) {
        ("", "secrets") => ask.read(Thing::Secret),
        ("", "configmaps") => ask.read(Thing::ConfigMap),
        ("", "persistentvolumeclaims") if wanted.subresource == "status" => {
            ask.change_status(Thing::Claim)
        }
        ("", "persistentvolumeclaims") => ask.get(Thing::Claim),
        ("", "persistentvolumes") => ask.get(Thing::Volume),
        ("resource.k8s.io", "resourceclaims") => ask.get(Thing::ResourceClaim),
        ("storage.k8s.io", "volumeattachments") => ask.get(Thing::Attachment),
        ("", "serviceaccounts") => ask.account(),
        ("coordination.k8s.io", "leases") => ask.lease(),
        ("storage.k8s.io", "csinodes") => ask.csi_node(),
        ("resource.k8s.io", "resourceslices") => ask.slice(),
        ("certificates.k8s.io", "podcertificaterequests") => ask.certificate_request(),
        ("", "nodes") => ask.node(),
        ("", "pods") => ask.pod(),
        _ if rules.iter().any(|rule| rule.allows(wanted)) => Ok(()),
        _ => Err(String::new()),
    };
    match answer {
        Ok(()) => Decision::Allow(String::new()),
        Err(why) => Decision::NoOpinion(why),
    }
}

type Answer = Result<(), String>;

fn no(why: &str) -> Answer {
    Err(why.to_owned())
}

struct Ask<'a> {
    graph: &'a Graph,
    node: &'a str,
    wanted: &'a ResourceAttributes,
}

impl Ask<'_> {
    fn verb(&self) -> &str {
        &self.wanted.verb
    }

    fn related(&self, thing: Thing) -> Answer {
        if self.wanted.name.is_empty() {
            return no("No Object name found");
        }
        if self.graph.related(self.node, thing, &self.wanted.namespace, &self.wanted.name) {
            return Ok(());
        }
        Err(format!("no relationship found between node '{}' and this object", self.node))
    }

    fn get(&self, thing: Thing) -> Answer {
        if self.verb() != "get" {
            return no("can only get individual resources of this type");
        }
        if !self.wanted.subresource.is_empty() {
            return no("cannot get subresource");
        }
        self.related(thing)
    }

    fn read(&self, thing: Thing) -> Answer {
        if !matches!(self.verb(), "get" | "list" | "watch") {
            return no("can only read resources of this type");
        }
        if !self.wanted.subresource.is_empty() {
            return no("cannot read subresource");
        }
        if self.wanted.namespace.is_empty() {
            return no("can only read namespaced object of this type");
        }
        self.related(thing)
    }

    fn change_status(&self, thing: Thing) -> Answer {
        if !matches!(self.verb(), "update" | "patch") {
            return no("can only get/update/patch this type");
        }
        self.related(thing)
    }

    /// Tokens of its pods' accounts, and the accounts themselves (image credentials, KEP-4412).
    fn account(&self) -> Answer {
        if self.verb() == "get" && self.wanted.subresource.is_empty() {
            return self.related(Thing::ServiceAccount);
        }
        if self.verb() != "create" || self.wanted.name.is_empty() {
            return no("can only create tokens for individual service accounts");
        }
        if self.wanted.subresource != "token" {
            return no("can only create token subresource of serviceaccount");
        }
        self.related(Thing::ServiceAccount)
    }

    fn lease(&self) -> Answer {
        if !is_whole(self.verb()) {
            return no("can only get, create, update, patch, or delete a node lease");
        }
        if self.wanted.namespace != LEASES {
            return Err(format!("can only access leases in the {LEASES:?} system namespace"));
        }
        // The name is not known when one is created: NodeRestriction looks at it.
        if self.verb() != "create" && self.wanted.name != self.node {
            return no("can only access node lease with the same name as the requesting node");
        }
        Ok(())
    }

    fn csi_node(&self) -> Answer {
        if !is_whole(self.verb()) {
            return no("can only get, create, update, patch, or delete a CSINode");
        }
        if !self.wanted.subresource.is_empty() {
            return no("cannot authorize CSINode subresources");
        }
        if self.verb() != "create" && self.wanted.name != self.node {
            return no("can only access CSINode with the same name as the requesting node");
        }
        Ok(())
    }

    fn slice(&self) -> Answer {
        if !self.wanted.subresource.is_empty() {
            return no("cannot authorize ResourceSlice subresources");
        }
        match self.verb() {
            "create" => Ok(()),
            "get" | "update" | "patch" | "delete" => self.related(Thing::Slice),
            "watch" | "list" | "deletecollection" => {
                if self.wanted.selects("nodeName", self.node)
                    || self.wanted.selects("spec.nodeName", self.node)
                {
                    return Ok(());
                }
                no(
                    "can only list/watch/deletecollection resourceslices with nodeName field selector",
                )
            }
            _ => no(
                "only the following verbs are allowed for a ResourceSlice: get, watch, list, create, update, patch, delete, deletecollection",
            ),
        }
    }

    fn certificate_request(&self) -> Answer {
        if !self.wanted.subresource.is_empty() {
            return no("nodes may not access the subresources of podcertificaterequests");
        }
        match self.verb() {
            "create" => Ok(()),
            "get" => self.related(Thing::CertificateRequest),
            "list" | "watch" if self.wanted.selects("spec.nodeName", self.node) => Ok(()),
            "list" | "watch" => {
                no("can only list/watch podcertificaterequests with nodeName field selector")
            }
            _ => no("can only create, get, list, and watch podcertificaterequests"),
        }
    }

    /// Its own node only: to read by name, to write by what NodeRestriction sees.
    fn node(&self) -> Answer {
        let node = self.node;
        match (self.wanted.subresource.as_str(), self.verb()) {
            ("", "create" | "update" | "patch") | ("status", "update" | "patch") => Ok(()),
            ("", "get" | "list" | "watch") if self.wanted.name == node => Ok(()),
            ("", "get" | "list" | "watch") if self.wanted.name.is_empty() => {
                Err(format!("node '{node}' cannot read all nodes, only its own Node object"))
            }
            ("", "get" | "list" | "watch") => Err(format!(
                "node '{node}' cannot read '{}', only its own Node object",
                self.wanted.name
            )),
            _ => no(""),
        }
    }

    fn pod(&self) -> Answer {
        match (self.wanted.subresource.as_str(), self.verb()) {
            ("", "get") => self.get(Thing::Pod),
            ("", "list" | "watch") => {
                if self.wanted.selects("spec.nodeName", self.node) {
                    return Ok(());
                }
                if !self.wanted.name.is_empty() {
                    return self.related(Thing::Pod);
                }
                no("can only list/watch pods with spec.nodeName field selector")
            }
            // NodeRestriction sees that they are its own.
            ("", "create" | "delete") | ("status", "update" | "patch") | ("eviction", "create") => {
                Ok(())
            }
            _ => no(""),
        }
    }
}

fn is_whole(verb: &str) -> bool {
    matches!(verb, "get" | "create" | "update" | "patch" | "delete")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SelectorRequirement;
    use api::k8s_openapi::api::core::v1::Pod;
    use serde_json::json;

    fn graph() -> Graph {
        let mut graph = Graph::default();
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {"name": "p", "namespace": "a"},
            "spec": {"nodeName": "n1", "serviceAccountName": "bot", "containers": [],
                "volumes": [{"name": "s", "secret": {"secretName": "s"}},
                    {"name": "d", "persistentVolumeClaim": {"claimName": "data"}}]},
        }))
        .unwrap();
        graph.pod(None, Some(&pod));
        graph.owned(Thing::Slice, "", "slice", Some("n1"));
        graph.owned(Thing::Attachment, "", "va", Some("n1"));
        graph
    }

    /// `verb group resource[/subresource] namespace name [field=value]`, `-` for nothing.
    fn check(what: &str, expected: Result<(), &str>) {
        let words: Vec<&str> = what.split(' ').collect();
        let word = |at: usize| {
            words.get(at).copied().filter(|text| *text != "-").unwrap_or_default().to_owned()
        };
        let full = words[2];
        let (resource, subresource) = full.split_once('/').unwrap_or((full, ""));
        let selector = words.get(5).and_then(|text| text.split_once('='));
        let wanted = ResourceAttributes {
            verb: word(0),
            group: word(1),
            resource: resource.to_owned(),
            subresource: subresource.to_owned(),
            namespace: word(3),
            name: word(4),
            field_selector: selector
                .into_iter()
                .map(|(key, value)| SelectorRequirement {
                    key: key.to_owned(),
                    operator: "In".to_owned(),
                    values: vec![value.to_owned()],
                })
                .collect(),
            ..ResourceAttributes::default()
        };
        let roles = crate::bootstrap::roles();
        let role = roles.iter().find(|role| role["metadata"]["name"] == "system:node").unwrap();
        let rules = crate::rbac::rules_of(role);
        let expected = match expected {
            Ok(()) => Decision::Allow(String::new()),
            Err(why) => Decision::NoOpinion(why.to_owned()),
        };
        assert_eq!(decide(&graph(), &rules, "n1", &wanted), expected, "{what}");
    }

    const STRANGER: Result<(), &str> =
        Err("no relationship found between node 'n1' and this object");

    #[test]
    fn what_its_pods_refer_to_and_nothing_else() {
        check("get - secrets a s", Ok(()));
        check("watch - secrets a s", Ok(()));
        check("get - secrets a other", STRANGER);
        check("get - secrets b s", STRANGER);
        check("list - secrets a -", Err("No Object name found"));
        check("list - secrets - -", Err("can only read namespaced object of this type"));
        check("update - secrets a s", Err("can only read resources of this type"));
        check("get - persistentvolumeclaims a data", Ok(()));
        check("patch - persistentvolumeclaims/status a data", Ok(()));
        check("patch - persistentvolumeclaims/status a other", STRANGER);
        check(
            "list - persistentvolumes - -",
            Err("can only get individual resources of this type"),
        );
        check("create - serviceaccounts/token a bot", Ok(()));
        check("create - serviceaccounts/token a admin", STRANGER);
        check("get - serviceaccounts a bot", Ok(()));
        check(
            "create - serviceaccounts a -",
            Err("can only create tokens for individual service accounts"),
        );
    }

    #[test]
    fn its_own_node_lease_pods_and_slices() {
        check("get - nodes - n1", Ok(()));
        check("get - nodes - n2", Err("node 'n1' cannot read 'n2', only its own Node object"));
        check("list - nodes - -", Err("node 'n1' cannot read all nodes, only its own Node object"));
        check("delete - nodes - n1", Err(""));
        check("patch - nodes/status - n1", Ok(()));
        check("update coordination.k8s.io leases kube-node-lease n1", Ok(()));
        check(
            "update coordination.k8s.io leases kube-node-lease n2",
            Err("can only access node lease with the same name as the requesting node"),
        );
        check(
            "update coordination.k8s.io leases kube-system n1",
            Err("can only access leases in the \"kube-node-lease\" system namespace"),
        );
        check("list - pods - - spec.nodeName=n1", Ok(()));
        check(
            "list - pods - - spec.nodeName=n2",
            Err("can only list/watch pods with spec.nodeName field selector"),
        );
        check("get - pods a p", Ok(()));
        check("get - pods a q", STRANGER);
        check("update - pods a p", Err(""));
        check("create - pods/eviction a p", Ok(()));
        check("create - pods/exec a p", Err(""));
        check(
            "get storage.k8s.io csinodes - n2",
            Err("can only access CSINode with the same name as the requesting node"),
        );
        check("get resource.k8s.io resourceslices - slice", Ok(()));
        check("delete resource.k8s.io resourceslices - other", STRANGER);
        check("get storage.k8s.io volumeattachments - va", Ok(()));
    }

    #[test]
    fn the_rest_by_the_role() {
        check("list - services - -", Ok(()));
        check("create - events a -", Ok(()));
        check("list - namespaces - -", Err(""));
        check("create authorization.k8s.io subjectaccessreviews - -", Ok(()));
    }
}
