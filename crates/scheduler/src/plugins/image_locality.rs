//! Better a node that has the pod's images already.

use crate::framework::{CycleState, NodeInfo, Plugin, PodInfo, SCORE_MAX, Score};

/// `ImageLocality`: by the bytes of the pod's images that lie on the node.
pub(crate) struct ImageLocality;

const MIB: i64 = 1 << 20;
/// Less than this in images does not count; more than the second a container does not count more.
const BYTES_MIN: i64 = 23 * MIB;
const BYTES_MAX_PER_CONTAINER: i64 = 1000 * MIB;

impl Plugin for ImageLocality {
    fn name(&self) -> &'static str {
        "ImageLocality"
    }

    fn as_score(&self) -> Option<&dyn Score> {
        Some(self)
    }
}

/// The names under which a pod's images may lie on nodes: as the pod says them, and with the tag
/// that is meant when it says none.
struct Wanted(Vec<(String, String)>);

impl Score for ImageLocality {
    fn weight(&self) -> i64 {
        1
    }

    /// Where no node has any image, none is better.
    fn pre_score(&self, state: &mut CycleState, pod: &PodInfo, nodes: &[&NodeInfo]) -> bool {
        if nodes.iter().all(|node| node.images.is_empty()) {
            return false;
        }
        let spec = pod.spec();
        let containers = spec.init_containers.iter().flatten().chain(&spec.containers);
        let images = containers.map(|container| container.image.as_deref().unwrap_or_default());
        state.write(Wanted(images.map(|own| (own.to_owned(), with_tag(own))).collect()));
        true
    }

    fn score(&self, state: &CycleState, _: &PodInfo, node: &NodeInfo) -> i64 {
        let Some(Wanted(images)) = state.read() else { return 0 };
        let on_node = |(plain, full): &(String, String)| {
            node.images.get(full).or_else(|| node.images.get(plain)).copied().unwrap_or_default()
        };
        let bytes: i64 = images.iter().map(on_node).sum();
        let most = BYTES_MAX_PER_CONTAINER * i64::try_from(images.len()).unwrap_or(i64::MAX);
        if most <= BYTES_MIN {
            return 0;
        }
        (bytes.clamp(BYTES_MIN, most) - BYTES_MIN) * SCORE_MAX / (most - BYTES_MIN)
    }
}

fn with_tag(image: &str) -> String {
    let last = image.rsplit('/').next().unwrap_or(image);
    if last.contains(':') || image.contains('@') {
        image.to_owned()
    } else {
        format!("{image}:latest")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{node, pod};

    #[test]
    fn the_node_with_the_image_scores_higher() {
        let wants = pod(r#"{"containers":[{"name":"c","image":"registry:5000/big"}]}"#);
        let has = node(
            "a",
            r#"{"status":{"images":[{"names":["registry:5000/big:latest"],"sizeBytes":524288000}]}}"#,
        );
        let (bare, mut state) = (node("b", "{}"), CycleState::default());
        assert!(!ImageLocality.pre_score(&mut state, &wants, &[&bare]), "nothing to compare");
        assert!(ImageLocality.pre_score(&mut state, &wants, &[&has, &bare]));
        assert!(ImageLocality.score(&state, &wants, &has) > 40);
        assert_eq!(ImageLocality.score(&state, &wants, &bare), 0);
    }
}
