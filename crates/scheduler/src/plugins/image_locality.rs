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

impl Score for ImageLocality {
    fn weight(&self) -> i64 {
        1
    }

    fn score(&self, _: &CycleState, pod: &PodInfo, node: &NodeInfo) -> i64 {
        let spec = pod.spec();
        let containers = spec.init_containers.iter().flatten().chain(&spec.containers);
        let (mut bytes, mut count) = (0, 0);
        for container in containers {
            count += 1;
            bytes += container.image.as_deref().map_or(0, |image| size_on(node, image));
        }
        let most = BYTES_MAX_PER_CONTAINER * count;
        if most <= BYTES_MIN {
            return 0;
        }
        (bytes.clamp(BYTES_MIN, most) - BYTES_MIN) * SCORE_MAX / (most - BYTES_MIN)
    }
}

fn size_on(node: &NodeInfo, image: &str) -> i64 {
    let full = with_tag(image);
    let images = node.node.status.iter().flat_map(|status| status.images.iter().flatten());
    images
        .filter(|own| own.names.iter().flatten().any(|name| *name == full || name == image))
        .find_map(|own| own.size_bytes)
        .unwrap_or_default()
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
        let score = |node: &NodeInfo| ImageLocality.score(&CycleState::default(), &wants, node);
        assert!(score(&has) > 40);
        assert_eq!(score(&node("b", "{}")), 0);
    }
}
