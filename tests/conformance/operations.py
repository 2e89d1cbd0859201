"""The walk that the suite's "should support … API operations" tests share.

Each of them looks at discovery, makes three objects, reads, lists, watches, patches, updates, goes
through the subresources, deletes one and then the rest; every step with what must be seen of it.
"""

from api import MERGE_PATCH
from harness import equal, expect_error, newer, retry_conflict, wait_count


def discovered(t, group, version, *resources):
    """The group, its version and these resources are in the discovery documents."""
    groups = t.cluster.get("/apis")["groups"]
    versions = [v["version"] for g in groups if g["name"] == group for v in g["versions"]]
    assert version in versions, f"{group}/{version} is in /apis"
    found = t.cluster.get(f"/apis/{group}")["versions"]
    assert version in [entry["version"] for entry in found], f"{version} is in /apis/{group}"
    listed = [r["name"] for r in t.cluster.get(f"/apis/{group}/{version}")["resources"]]
    for resource in resources:
        assert resource in listed, f"{resource} is in /apis/{group}/{version}"


class Walk:
    """One resource on its way: where it is, how its objects are made, and which selector is ours."""

    def __init__(self, resource, make, **selector):
        self.resource = resource
        self.make = make
        self.selector = selector
        self.created = None

    def create(self, count=3):
        """Makes the objects; the last one is looked at from then on."""
        for number in range(count):
            self.created = self.resource.create(self.make(number))
        return self.created

    @property
    def name(self):
        return self.created["metadata"]["name"]

    def read(self, count=3):
        """get, list here and, for what has namespaces, everywhere."""
        got = self.resource.get(self.name)
        equal(got["metadata"]["uid"], self.created["metadata"]["uid"], "the uid")
        listed = self.resource.list(**self.selector)
        equal(len(listed["items"]), count, "the list")
        if self.resource.namespace:
            everywhere = self.resource.everywhere().list(**self.selector)
            equal(len(everywhere["items"]), count, "the list of all namespaces")
        return listed

    def change(self, listed, widely=False):
        """patch and update, and what a watch from the list on sees of them."""
        watched = self.resource.everywhere() if widely else self.resource
        version = listed["metadata"]["resourceVersion"]
        with watched.watch(resourceVersion=version, **self.selector) as watch:
            patched = self.annotate(self.resource, "patched", self.created)
            updated = self.put_annotation(self.resource, "updated")
            newer(updated, patched)

            def both(event):
                equal(event.type, "MODIFIED", f"{event}")
                notes = event.object["metadata"].get("annotations", {})
                return notes.get("patched") == "true" and notes.get("updated") == "true"

            watch.until(both, what="patched and updated")
        return updated

    def annotate(self, resource, note, before, more=None):
        """A merge patch that sets an annotation, and perhaps more."""
        body = {"metadata": {"annotations": {note: "true"}}, **(more or {})}
        patched = resource.patch(self.name, body, MERGE_PATCH)
        equal(patched["metadata"]["annotations"].get(note), "true", f"the annotation {note}")
        newer(patched, before)
        return patched

    def put_annotation(self, resource, note):
        """Reads, sets an annotation, writes."""

        def once():
            found = self.resource.get(self.name)
            found["metadata"].setdefault("annotations", {})[note] = "true"
            return resource.update(found)

        updated = retry_conflict(once)
        equal(updated["metadata"]["annotations"].get(note), "true", f"the annotation {note}")
        return updated

    def get_sub(self, sub, kind):
        """A subresource that shows the object itself."""
        got = self.resource.sub(sub).get(self.name)
        equal((got["apiVersion"], got["kind"]), (self.resource.api_version, kind))
        equal(got["metadata"]["uid"], self.created["metadata"]["uid"], f"the uid of /{sub}")
        return got

    def delete(self, left=2):
        """Deletes the one, then the rest as a collection."""
        self.resource.delete(self.name)
        expect_error(404, self.resource.get, self.name, reason="NotFound")
        wait_count(self.resource, left, **self.selector)
        self.resource.delete_collection(**self.selector)
        wait_count(self.resource, 0, **self.selector)
