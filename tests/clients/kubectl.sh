#!/usr/bin/env bash
# kubectl against a running cluster without nodes: the verbs that are about the API alone, and what
# they print. KUBECONFIG says which cluster. Closes with `N passed, N failed`.
set -uo pipefail
labs=$(cd "$(dirname "${BASH_SOURCE[0]}")/../labs" && pwd)
space=kubectl-$RANDOM$RANDOM
dir=$(mktemp -d /tmp/ferry-kubectl.XXXXXX)
passed=0 failed=0

k() { kubectl --cache-dir="$dir/cache" --namespace="$space" "$@" 2>&1; }
ok() { passed=$((passed + 1)); echo "ok    $*"; }
bad() { failed=$((failed + 1)); echo "FAIL  $1: wanted '$2' in:"; sed 's/^/      /' <<<"$3" | tail -n 15; }
# has NAME WANTED COMMAND…: the output has the words.
has() { local name=$1 wanted=$2 got; shift 2; got=$("$@"); if grep -qF -- "$wanted" <<<"$got"; then ok "$name"; else bad "$name" "$wanted" "$got"; fi; }
# is NAME WANTED COMMAND…: the output is the words.
is() { local name=$1 wanted=$2 got; shift 2; got=$("$@"); if [ "$got" = "$wanted" ]; then ok "$name"; else bad "$name" "$wanted" "$got"; fi; }
# Squeezes the blanks of a table.
squeezed() { "$@" | sed 's/  */ /g; s/ $//'; }

finish() {
  kubectl --cache-dir="$dir/cache" delete namespace "$space" --wait=false >/dev/null 2>&1
  rm -rf "$dir"
  echo "$passed passed, $failed failed"
  [ "$failed" -eq 0 ]
}
trap finish EXIT

discovery() {
  has "version" "Server Version: v1.36" k version
  has "api-versions" "apps/v1" k api-versions
  has "api-resources" "deployments deploy apps/v1 true Deployment" squeezed k api-resources
  has "api-resources by category" "replicasets.apps" k api-resources --categories=all -o name
  has "cluster-info" "is running at" k cluster-info
  has "explain" "KIND:       Deployment" k explain deployment
  has "explain a field" "FIELD: replicas <integer>" k explain deployment.spec.replicas
  has "explain what is not there" 'field "nothing" does not exist' k explain deployment.spec.nothing
  has "raw" '"major": "1"' k get --raw /version
}

objects() {
  is "create namespace" "namespace/$space created" kubectl create namespace "$space"
  is "create configmap" "configmap/own created" k create configmap own --from-literal=a=b
  is "get -o jsonpath" "b" k get configmap own -o 'jsonpath={.data.a}'
  is "get, a table" "NAME DATA AGE" squeezed bash -c "kubectl -n $space get configmap own | head -n 1"
  is "label" "configmap/own labeled" k label configmap own app=alpaca
  has "label taken" "already has a value" k label configmap own app=bandicoot
  is "label --overwrite" "configmap/own labeled" k label configmap own app=bandicoot --overwrite
  has "-L" "bandicoot" k get configmap own -L app
  has "--show-labels" "app=bandicoot" k get configmap own --show-labels
  is "unlabel" "configmap/own unlabeled" k label configmap own app-
  is "annotate" "configmap/own annotated" k annotate configmap own note=x
  is "patch --type=merge" "configmap/own patched" k patch configmap own --type=merge -p '{"data":{"c":"d"}}'
  is "patch without change" "configmap/own patched (no change)" k patch configmap own --type=merge -p '{"data":{"c":"d"}}'
  is "patch --type=json" "configmap/own patched" k patch configmap own --type=json -p '[{"op":"remove","path":"/data/c"}]'
  is "create secret" "secret/hidden created" k create secret generic hidden --from-literal=password=x
  has "describe secret" "password:  1 bytes" k describe secret hidden
  has "get what is not there" 'Error from server (NotFound): configmaps "none" not found' k get configmap none
  has "get a kind that is not there" 'the server doesn'"'"'t have a resource type "nothings"' k get nothings
  has "an invalid name" "a lowercase RFC 1123 subdomain must consist of" k create configmap Not_A_Name
  has "create twice" 'configmaps "own" already exists' k create configmap own
  has "delete" 'configmap "own" deleted' k delete configmap own
}

applied() {
  local file=$labs/kubia/deployment-v1.yaml
  is "apply" "deployment.apps/kubia-dp created" k apply -f "$file"
  is "apply again" "deployment.apps/kubia-dp unchanged" k apply -f "$file"
  has "diff of what is the same" "" k diff -f "$file"
  has "diff of another image" "oliwave/kubia:v2" k diff -f "$labs/kubia/deployment-v2.yaml"
  is "apply a change" "deployment.apps/kubia-dp configured" k apply -f "$labs/kubia/deployment-v2.yaml"
  is "apply --dry-run=server" "deployment.apps/kubia-dp configured (server dry run)" k apply --dry-run=server -f "$file"
  has "view-last-applied" "oliwave/kubia:v2" k apply view-last-applied deployment/kubia-dp
  is "apply --server-side" "configmap/ssa serverside-applied" k apply --server-side -f - <<YAML
apiVersion: v1
kind: ConfigMap
metadata: {name: ssa}
data: {a: "1"}
YAML
  has "a server-side conflict" 'Apply failed with 1 conflict: conflict with "kubectl": .data.a' k apply --server-side --field-manager=other -f - <<YAML
apiVersion: v1
kind: ConfigMap
metadata: {name: ssa}
data: {a: two}
YAML
  is "--force-conflicts" "configmap/ssa serverside-applied" k apply --server-side --field-manager=other --force-conflicts -f - <<YAML
apiVersion: v1
kind: ConfigMap
metadata: {name: ssa}
data: {a: two}
YAML
  has "an unknown field" 'strict decoding error: unknown field "colour"' k apply -f - <<YAML
apiVersion: v1
kind: ConfigMap
metadata: {name: strict}
colour: red
YAML
  is "edit" "configmap/ssa edited" env KUBE_EDITOR="sed -i s/two/three/" kubectl --cache-dir="$dir/cache" -n "$space" edit configmap ssa
  is "edited" "three" k get configmap ssa -o 'jsonpath={.data.a}'
  is "replace" "configmap/ssa replaced" k replace -f - <<YAML
apiVersion: v1
kind: ConfigMap
metadata: {name: ssa}
data: {a: "4"}
YAML
  is "create --edit's cousin: create -f" "service/kubia created" k create -f "$labs/kubia/service.yaml"
}

workloads() {
  is "scale" "deployment.apps/kubia-dp scaled" k scale deployment kubia-dp --replicas=2
  is "scaled" "2" k get deployment kubia-dp -o 'jsonpath={.spec.replicas}'
  is "set image" "deployment.apps/kubia-dp image updated" k set image deployment/kubia-dp '*=ferry.local/demo:v1'
  is "set env" "deployment.apps/kubia-dp env updated" k set env deployment/kubia-dp A=B
  has "rollout history" "REVISION  CHANGE-CAUSE" k rollout history deployment/kubia-dp
  is "rollout pause" "deployment.apps/kubia-dp paused" k rollout pause deployment/kubia-dp
  is "rollout resume" "deployment.apps/kubia-dp resumed" k rollout resume deployment/kubia-dp
  is "rollout restart" "deployment.apps/kubia-dp restarted" k rollout restart deployment/kubia-dp
  is "rollout undo" "deployment.apps/kubia-dp rolled back" k rollout undo deployment/kubia-dp
  has "rollout status" "Waiting for deployment" k rollout status deployment/kubia-dp --timeout=1s
  is "get deployments" "NAME READY UP-TO-DATE AVAILABLE AGE" squeezed bash -c "kubectl -n $space get deployments | head -n 1"
  has "get all" "deployment.apps/kubia-dp" k get all
  is "autoscale" "horizontalpodautoscaler.autoscaling/kubia-dp autoscaled" k autoscale deployment kubia-dp --max=3
  is "expose" "service/exposed exposed" k expose deployment kubia-dp --name=exposed --port=80
  is "create job" "job.batch/once created" k create job once --image=ferry.local/demo:v1
  is "create cronjob" "cronjob.batch/often created" k create cronjob often --image=ferry.local/demo:v1 --schedule='*/5 * * * *'
  is "run" "pod/lone created" k run lone --image=ferry.local/demo:v1
  has "get pods" "Pending" k get pods lone
  has "wait" "timed out waiting for the condition" k wait --for=condition=Ready pod/lone --timeout=1s
  is "wait --for=jsonpath" "pod/lone condition met" k wait --for='jsonpath={.status.phase}=Pending' pod/lone --timeout=10s
  has "events" "FailedScheduling" k events --for=pod/lone
  has "delete --all" 'pod "lone" deleted' k delete pod --all
}

described() {
  local wanted
  for wanted in "Selector:               app=kubia" "StrategyType:           RollingUpdate" "Pod Template:" "Conditions:" "ScalingReplicaSet"; do
    has "describe deployment: $wanted" "$wanted" k describe deployment kubia-dp
  done
  for wanted in "Type:                     ClusterIP" "IP Families:" "Session Affinity:         None"; do
    has "describe service: $wanted" "$wanted" k describe service exposed
  done
  has "describe namespace" "No resource quota." kubectl describe namespace "$space"
  has "describe cronjob" "Schedule:                      */5 * * * *" k describe cronjob often
  has "describe job" "Parallelism:      1" k describe job once
  has "describe hpa" "Reference:" k describe hpa kubia-dp
}

rights() {
  is "auth can-i" "yes" k auth can-i delete pods
  is "auth can-i --as" "no" k auth can-i delete pods --as=nobody
  has "auth can-i --list" "*.*" k auth can-i --list
  has "auth whoami" "system:masters" k auth whoami
  is "create serviceaccount" "serviceaccount/robot created" k create serviceaccount robot
  is "create role" "role.rbac.authorization.k8s.io/reader created" k create role reader --verb=get,list --resource=pods
  is "create rolebinding" "rolebinding.rbac.authorization.k8s.io/readers created" k create rolebinding readers --role=reader --serviceaccount="$space:robot"
  is "the binding holds" "yes" k auth can-i list pods --as="system:serviceaccount:$space:robot"
  is "and no further" "no" k auth can-i delete pods --as="system:serviceaccount:$space:robot"
  has "forbidden in words" "User \"system:serviceaccount:$space:robot\" cannot delete resource \"pods\" in API group \"\"" k delete pod x --as="system:serviceaccount:$space:robot"
  has "create token" "eyJ" k create token robot
}

old_versions() {
  is "create quota" "resourcequota/limits created" k create quota limits --hard=configmaps=100
  has "describe quota" "configmaps" k describe quota limits
  is "create poddisruptionbudget" "poddisruptionbudget.policy/budget created" k create poddisruptionbudget budget --selector=app=kubia --min-available=1
  is "create priorityclass --dry-run=server" "priorityclass.scheduling.k8s.io/high created (server dry run)" k create priorityclass high --value=10 --dry-run=server
  is "create ingress" "ingress.networking.k8s.io/web created" k create ingress web --rule="example.com/*=exposed:80"
  has "get ingress" "example.com" k get ingress web
  has "apply -f a folder" "created" k apply -f "$labs/daemonset"
}

for part in discovery objects applied workloads described rights old_versions; do "$part"; done
