/**
 * npm's `@kubernetes/client-node` against a running cluster: its typed APIs, its watch and informer,
 * its object API with patches and server-side apply.
 *
 *     node javascript_client.mjs KUBECONFIG
 *
 * Each test gets a namespace of its own. Closes with `N passed, N failed`.
 */

import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import * as k8s from "@kubernetes/client-node";

const kc = new k8s.KubeConfig();
kc.loadFromFile(process.argv[2]);
const core = kc.makeApiClient(k8s.CoreV1Api);
const apps = kc.makeApiClient(k8s.AppsV1Api);
const objects = k8s.KubernetesObjectApi.makeApiClient(kc);

const configMap = (namespace, name, data, labels) => ({
  apiVersion: "v1",
  kind: "ConfigMap",
  metadata: { name, namespace, labels },
  data,
});

const deployment = (namespace, name, replicas = 2) => ({
  apiVersion: "apps/v1",
  kind: "Deployment",
  metadata: { name, namespace },
  spec: {
    replicas,
    selector: { matchLabels: { app: name } },
    template: {
      metadata: { labels: { app: name } },
      spec: { containers: [{ name: "web", image: "ferry.local/demo:v1" }] },
    },
  },
});

/** The call must fail with this code and reason; gives the Status. */
async function refused(code, reason, call) {
  try {
    await call();
  } catch (error) {
    const status = typeof error.body === "string" ? JSON.parse(error.body) : error.body;
    assert.equal(error.code, code, `${error}`);
    assert.equal(status.reason, reason);
    return status;
  }
  assert.fail(`wanted ${code} ${reason}, but it went well`);
}

/** Waits for the first thing that `take` accepts of what `start` hands it; fails after a while. */
function first(what, start) {
  return new Promise((resolve, reject) => {
    const late = setTimeout(() => reject(new Error(`${what}: not within 30 s`)), 30_000);
    start((value) => {
      clearTimeout(late);
      resolve(value);
    }, reject);
  });
}

const tests = {
  async "create, read, replace and delete"(namespace) {
    const made = await core.createNamespacedConfigMap({
      namespace,
      body: configMap(namespace, "a", { k: "v" }),
    });
    assert.ok(made.metadata.uid);
    assert.ok(made.metadata.creationTimestamp instanceof Date);
    const read = await core.readNamespacedConfigMap({ name: "a", namespace });
    read.data.more = "x";
    const replaced = await core.replaceNamespacedConfigMap({ name: "a", namespace, body: read });
    assert.ok(BigInt(replaced.metadata.resourceVersion) > BigInt(made.metadata.resourceVersion));
    const status = await core.deleteNamespacedConfigMap({ name: "a", namespace });
    assert.equal(status.status, "Success");
    await refused(404, "NotFound", () => core.readNamespacedConfigMap({ name: "a", namespace }));
  },

  async "errors are statuses"(namespace) {
    const body = configMap(namespace, "a");
    await core.createNamespacedConfigMap({ namespace, body });
    const again = await refused(409, "AlreadyExists", () =>
      core.createNamespacedConfigMap({ namespace, body }),
    );
    assert.equal(again.message, 'configmaps "a" already exists');
    const invalid = await refused(422, "Invalid", () =>
      core.createNamespacedConfigMap({ namespace, body: configMap(namespace, "Not A Name") }),
    );
    assert.equal(invalid.details.causes[0].field, "metadata.name");
  },

  async "a stale update conflicts"(namespace) {
    const body = configMap(namespace, "a", { n: "1" });
    const old = await core.createNamespacedConfigMap({ namespace, body });
    const fresh = { ...old, data: { n: "2" } };
    await core.replaceNamespacedConfigMap({ name: "a", namespace, body: fresh });
    const status = await refused(409, "Conflict", () =>
      core.replaceNamespacedConfigMap({ name: "a", namespace, body: { ...old, data: { n: "3" } } }),
    );
    assert.match(status.message, /the object has been modified/);
  },

  async "pages, selectors and collections"(namespace) {
    for (let number = 0; number < 5; number += 1) {
      const labels = { paged: "yes", parity: number % 2 ? "odd" : "even" };
      const body = configMap(namespace, `page-${number}`, undefined, labels);
      await core.createNamespacedConfigMap({ namespace, body });
    }
    const seen = [];
    let token;
    do {
      const page = await core.listNamespacedConfigMap({
        namespace,
        limit: 2,
        _continue: token,
        labelSelector: "paged=yes",
      });
      seen.push(...page.items.map((item) => item.metadata.name));
      token = page.metadata._continue;
    } while (token);
    assert.deepEqual(seen, ["page-0", "page-1", "page-2", "page-3", "page-4"]);
    await core.deleteCollectionNamespacedConfigMap({ namespace, labelSelector: "parity in (odd)" });
    const left = await core.listNamespacedConfigMap({ namespace, labelSelector: "paged" });
    assert.equal(left.items.length, 3);
    const one = await core.listNamespacedConfigMap({
      namespace,
      fieldSelector: "metadata.name=page-2",
    });
    assert.deepEqual(one.items.map((item) => item.metadata.name), ["page-2"]);
  },

  async "a watch sees each change once and in order"(namespace) {
    const list = await core.listNamespacedConfigMap({ namespace });
    const seen = [];
    const path = `/api/v1/namespaces/${namespace}/configmaps`;
    const query = { resourceVersion: list.metadata.resourceVersion, labelSelector: "watched" };
    const watched = first("three events", (done, failed) => {
      const watch = new k8s.Watch(kc);
      const each = (type, thing) => {
        seen.push([type, thing.metadata.name, thing.data?.n]);
        if (type === "DELETED") done();
      };
      const ended = (error) => error && error.name !== "AbortError" && failed(error);
      watch.watch(path, query, each, ended).catch(failed);
    });
    const body = configMap(namespace, "a", { n: "1" }, { watched: "yes" });
    const made = await core.createNamespacedConfigMap({ namespace, body });
    made.data = { n: "2" };
    await core.replaceNamespacedConfigMap({ name: "a", namespace, body: made });
    await core.deleteNamespacedConfigMap({ name: "a", namespace });
    await watched;
    assert.deepEqual(seen, [
      ["ADDED", "a", "1"],
      ["MODIFIED", "a", "2"],
      ["DELETED", "a", "2"],
    ]);
  },

  async "an informer follows"(namespace) {
    await core.createNamespacedConfigMap({ namespace, body: configMap(namespace, "before") });
    const informer = k8s.makeInformer(kc, `/api/v1/namespaces/${namespace}/configmaps`, () =>
      core.listNamespacedConfigMap({ namespace }),
    );
    const told = (event, name) =>
      first(`${event} ${name}`, (done) => {
        informer.on(event, (thing) => thing.metadata.name === name && done(thing));
      });
    const there = told("add", "before");
    await informer.start();
    await there;
    const [added, changed, gone] = [told("add", "after"), told("update", "after"), told("delete", "after")];
    const body = configMap(namespace, "after", { n: "1" });
    const made = await core.createNamespacedConfigMap({ namespace, body });
    await added;
    await core.replaceNamespacedConfigMap({ name: "after", namespace, body: { ...made, data: { n: "2" } } });
    assert.equal((await changed).data.n, "2");
    await core.deleteNamespacedConfigMap({ name: "after", namespace });
    await gone;
    assert.ok(informer.get("before", namespace));
    assert.equal(informer.get("after", namespace), undefined);
    await informer.stop();
  },

  async "patches of three kinds"(namespace) {
    await apps.createNamespacedDeployment({ namespace, body: deployment(namespace, "web") });
    const patch = (body, strategy) =>
      apps.patchNamespacedDeployment(
        { name: "web", namespace, body },
        k8s.setHeaderOptions("Content-Type", strategy),
      );
    const side = { name: "side", image: "ferry.local/demo:v2" };
    const merged = await patch(
      { spec: { template: { spec: { containers: [side] } } } },
      k8s.PatchStrategy.StrategicMergePatch,
    );
    assert.deepEqual(merged.spec.template.spec.containers.map((c) => c.name), ["side", "web"]);
    const replaced = await patch({ spec: { replicas: 5 } }, k8s.PatchStrategy.MergePatch);
    assert.equal(replaced.spec.replicas, 5);
    const tested = await patch(
      [
        { op: "test", path: "/spec/replicas", value: 5 },
        { op: "replace", path: "/spec/replicas", value: 6 },
      ],
      k8s.PatchStrategy.JsonPatch,
    );
    assert.equal(tested.spec.replicas, 6);
  },

  async "server-side apply, conflict and force"(namespace) {
    const apply = (data, manager, force) =>
      objects.patch(
        configMap(namespace, "applied", data),
        undefined,
        undefined,
        manager,
        force,
        k8s.PatchStrategy.ServerSideApply,
      );
    const made = await apply({ a: "1" }, "one");
    assert.equal(made.metadata.managedFields[0].manager, "one");
    const status = await refused(409, "Conflict", () => apply({ a: "2" }, "two"));
    assert.equal(status.details.causes[0].field, ".data.a");
    assert.equal(status.details.causes[0].message, 'conflict with "one"');
    assert.equal((await apply({ a: "2" }, "two", true)).data.a, "2");
  },

  async "scale, status and dry run"(namespace) {
    const body = deployment(namespace, "web", 1);
    await apps.createNamespacedDeployment({ namespace, body, dryRun: "All" });
    await refused(404, "NotFound", () => apps.readNamespacedDeployment({ name: "web", namespace }));
    await apps.createNamespacedDeployment({ namespace, body });
    const scale = await apps.readNamespacedDeploymentScale({ name: "web", namespace });
    assert.equal(scale.status.selector, "app=web");
    scale.spec.replicas = 3;
    delete scale.metadata.resourceVersion;
    await apps.replaceNamespacedDeploymentScale({ name: "web", namespace, body: scale });
    const read = await apps.readNamespacedDeploymentStatus({ name: "web", namespace });
    assert.equal(read.spec.replicas, 3);
  },

  async "any kind, by what discovery says"(namespace) {
    const role = {
      apiVersion: "rbac.authorization.k8s.io/v1",
      kind: "Role",
      metadata: { name: "reader", namespace },
      rules: [{ apiGroups: [""], resources: ["pods"], verbs: ["get"] }],
    };
    await objects.create(role);
    const read = await objects.read(role);
    assert.deepEqual(read.rules[0].verbs, ["get"]);
    await objects.delete(role);
    await refused(404, "NotFound", () => objects.read(role));
    const { groups } = await kc.makeApiClient(k8s.ApisApi).getAPIVersions();
    assert.ok(groups.some((group) => group.name === "apps"));
  },
};

let failed = 0;
for (const [name, run] of Object.entries(tests)) {
  const namespace = `javascript-${randomBytes(4).toString("hex")}`;
  try {
    await core.createNamespace({ body: { metadata: { name: namespace } } });
    await run(namespace);
    console.log(`ok    ${name}`);
  } catch (error) {
    failed += 1;
    console.log(`FAIL  ${name}\n${error.stack}`);
  }
  await core.deleteNamespace({ name: namespace });
}
console.log(`${Object.keys(tests).length - failed} passed, ${failed} failed`);
// Watches that are open must not hold the process.
process.exit(failed ? 1 : 0);
