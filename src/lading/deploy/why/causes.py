"""The causes that a release fails for: how Kubernetes, Helm and the server say it, and what it means.

A statement is a reason and a message, as in ``ErrImagePull: ... not found``. The first cause whose pattern is in it is
the one that it stands for, so a special cause comes before a general one.
"""

from __future__ import annotations

from lading.deploy.why.cause import Cause, Rank

_IMAGE = "(?:ErrImagePull|ImagePullBackOff|Failed to pull image)"

CAUSES = (
    Cause(
        "image-name",
        r"InvalidImageName",
        "the image name {image} is not valid",
        "correct image.repository, image.tag or image.digest",
        'InvalidImageName: Failed to apply default image tag "Cards:1": couldn\'t parse image name "Cards:1": '
        "invalid reference format: repository name (library/Cards) must be lowercase",
    ),
    Cause(
        "image-not-on-node",
        r"ErrImageNeverPull",
        "the image {image} is not on the node, and image.pullPolicy=Never forbids the node to pull it",
        "load the image onto the nodes, or set image.pullPolicy=IfNotPresent",
        'ErrImageNeverPull: Container image "cards:1" is not present with pull policy of Never',
    ),
    Cause(
        "image-platform",
        _IMAGE + r".*no match for platform|exec format error",
        "the image {image} was not built for the CPU of the node",
        "build the image for the platform of the nodes, or choose nodes with nodeSelector (kubernetes.io/arch)",
        'ErrImagePull: failed to pull and unpack image "x/cards:1": no match for platform in manifest: not found',
    ),
    Cause(
        "registry-login",
        _IMAGE + r".*(?:\b401\b|\b403\b|[Uu]nauthorized|[Ff]orbidden|access denied|insufficient_scope|"
        r"authorization failed|no basic auth credentials|failed to authorize)",
        "the registry does not let the node pull the image {image}: it has no such repository, or requires a login",
        "push the image, or name a Secret with the login in imagePullSecrets",
        'ErrImagePull: failed to resolve reference "docker.io/library/cards:1": pull access denied, repository does '
        "not exist or may require authorization: server message: insufficient_scope: authorization failed",
    ),
    Cause(
        "registry-unreachable",
        _IMAGE + r".*(?:no such host|dial tcp|i/o timeout|connection refused|connection reset|TLS handshake|x509|"
        r"context deadline exceeded|EOF|50[0-9] |failed to do request)",
        "the node cannot reach the registry of the image {image}",
        "check the registry's name in image.repository, and the network and proxy of the nodes; or load the image onto "
        "the nodes and set image.pullPolicy=IfNotPresent",
        'ErrImagePull: failed to resolve reference "example.test/cards:1": failed to do request: Head '
        '"https://example.test/v2/cards/manifests/1": dial tcp: lookup example.test: no such host',
    ),
    Cause(
        "image-absent",
        _IMAGE,
        "the image {image} cannot be pulled: its registry does not have that tag or digest",
        "push the image, or correct image.repository, image.tag or image.digest",
        'ImagePullBackOff: Back-off pulling image "x/cards:7": ErrImagePull: failed to resolve reference "x/cards:7": '
        "x/cards:7: not found",
    ),
    Cause(
        "wrong-digest",
        r"has the digest (?P<have>\S+?),? (?:and LADING_DIGEST asks for|but) (?P<want>sha256:\w+)",
        "the artifact has the digest {have}, and the release asks for {want}",
        "set artifact.digest to what `lading inspect ARTIFACT` shows, or deploy the image or folder of that artifact",
        "Error: the server cannot start: /app/artifact has the digest sha256:06b6, and LADING_DIGEST asks for "
        "sha256:0000: it is another artifact than the one that was released",
    ),
    Cause(
        "artifact-untrusted",
        r"(?P<said>[^\n]*(?:is not signed: it has no model\.sig|(?:is signed|was not made) by key |"
        r"(?:which|that) key \S+ \([^)\n]*\) (?:signed|did not sign)|model\.sig[^\n]* cannot be (?:checked|used)|"
        r"a signature covers files only|"
        r"model\.sig(?: is not a signature|, by key| is not there)|to check its signature)[^\n]*)",
        "no key of artifact.trustedKeys signed the artifact as it is: {said}",
        "sign what was released (`lading sign`), or add the signer's public key to the ConfigMap or Secret; if it was "
        "changed after signing, find out by whom",
        "Error: exit code 137: cards is not ready: /artifacts/served is not signed: it has no model.sig. Trusted are "
        "the keys 3f2a1b0c9d8e (release.pub); sign it with `lading sign`",
    ),
    Cause(
        "artifact-refused",
        r"(?P<variant>variant '[^']+') of \S+ was refused by verify: (?P<reason>[^\n]+)",
        "verify refused {variant} of the artifact: {reason}",
        "deploy another variant with settings.variant, or an artifact that passes its gates",
        "Error: the server cannot start: variant 'int8' of /app/artifact was refused by verify: the score fell by 0.3",
    ),
    Cause(
        "golden-answers",
        r"(?P<said>variant [^\n]*does not reproduce its golden output[^\n]*)",
        "the server does not give the answers that the artifact recorded: {said}",
        "build the artifact again, or run it on the kind of CPU on which it was packed",
        "Error: exit code 1: cards is not ready: variant 'int8' does not reproduce its golden output 'suit' here: "
        "differs by 0.3, allowed 0.01",
    ),
    Cause(
        "artifact-gone",
        r"(?P<said>(?:[^\n]*(?:is not an artifact|is missing: the artifact is incomplete|does not match its checksum|"
        r"lists no checksum|has no layer titled|there is no such folder|has no subfolder with a|"
        r"no artifact is named)[^\n]*)|(?:\S+lading\.json is not there)|"
        r"(?:[^\n]*(?:oci|gs|s3|az|https?)://\S+:? [^\n]*(?:is not there|cannot be read|the registry answered)[^\n]*))",
        "the artifact cannot be read: {said}",
        "check artifact.uri, artifact.path or artifact.claimName, and that the artifact is still there",
        "Error: Fetch: s3://models/cards/lading.json is not there",
    ),
    Cause(
        "artifact-login",
        r"^(?:Init)?Error: (?P<said>.*(?:: access to .* was denied|AccessDenied|403 Forbidden|401 Unauthorized|"
        r"Unable to locate credentials).*)",
        "the artifact's store does not let it be read: {said}",
        "name a Secret with the login in artifact.credentialsSecret, or give the ServiceAccount access",
        "Error: exit code 1: Fetch: oci://r.test/cards:1: access to the manifest was denied: set REGISTRY_USERNAME and "
        "REGISTRY_PASSWORD",
    ),
    Cause(
        "missing-object",
        r"Missing: (?P<what>(?!key ).+)",
        "the namespace does not have the {what}, which the pod needs",
        "create it in the release's namespace, or correct its name in the values",
        "Missing: secret cards-keys",
    ),
    Cause(
        "missing-key",
        r"(?P<said>Missing: key .+|couldn't find key \S+ in (?:Secret|ConfigMap) \S+|"
        r"volume \"[^\"]+\" : references non-existent (?:secret|config) key: \S+)",
        "a Secret or ConfigMap does not have the key that the pod names: {said}",
        "add the key to it, or correct its name in the values (auth.key)",
        'FailedMount: MountVolume.SetUp failed for volume "keys" : references non-existent secret key: keys',
    ),
    Cause(
        "missing-object",
        r'(?P<what>secret|configmap|persistentvolumeclaim) "(?P<name>[^"]+)" (?:not found|is being deleted)',
        "the namespace does not have the {what} {name}, which the pod needs",
        "create it in the release's namespace, or correct its name in the values",
        'CreateContainerConfigError: secret "cards-env" not found',
    ),
    Cause(
        "claim-not-bound",
        r"unbound immediate PersistentVolumeClaims|ProvisioningFailed|storageclass\S* \"(?P<name>[^\"]+)\" not found|"
        r"volume node affinity conflict|didn't find available persistent volumes",
        "the claim with the artifact has no volume that the node could mount",
        "look at `kubectl get pvc`: the storage class must exist, and the volume be in the zone of a node",
        "Unschedulable: 0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims",
    ),
    Cause(
        "service-account",
        r'serviceaccount "(?P<name>[^"]+)" not found',
        "the namespace does not have the ServiceAccount {name}",
        "set serviceAccount.create=true, or create the account",
        'FailedCreate: pods "cards-5d-" is forbidden: error looking up service account ns/nobody: serviceaccount '
        '"nobody" not found',
    ),
    Cause(
        "class-absent",
        r'(?P<said>no PriorityClass with name \S+ was found|RuntimeClass "[^"]+" not found)',
        "the cluster does not have the class that priorityClassName or runtimeClassName names: {said}",
        "create the class, or leave the value empty",
        'FailedCreate: pods "cards-5d-" is forbidden: no PriorityClass with name urgent was found',
    ),
    Cause(
        "quota",
        r"exceeded quota: (?P<name>[^,\s]+), requested: (?P<request>\S+?),? used: (?P<used>\S+?),? "
        r"limited: (?P<limited>\S+)",
        "the quota {name} of the namespace is too small: a pod needs {request}, {used} is used, the limit is {limited}",
        "raise the quota, or lower resources, replicaCount, autoscaling.minReplicas or rollout.maxSurge",
        'FailedCreate: pods "cards-5d-x" is forbidden: exceeded quota: team, requested: requests.cpu=1, used: '
        "requests.cpu=0, limited: requests.cpu=100m",
    ),
    Cause(
        "quota",
        r"failed quota: (?P<name>[^,\s:]+): must specify (?P<request>[^\n]+)",
        "the quota {name} of the namespace wants every container to name its resources: {request}",
        "set these in resources, and in extraContainers and extraInitContainers",
        'FailedCreate: pods "cards-5d-x" is forbidden: failed quota: team: must specify limits.cpu for: sidecar',
    ),
    Cause(
        "limit-range",
        r"(?P<said>(?:maximum|minimum) \S+ usage per (?:Container|Pod) is [^\]\n]+)",
        "a LimitRange of the namespace refuses the pod: {said}",
        "change resources, or the LimitRange",
        'FailedCreate: pods "cards-5d-x" is forbidden: maximum cpu usage per Container is 500m, but limit is 1',
    ),
    Cause(
        "pod-security",
        r'violates PodSecurity "(?P<name>[^"]+)": (?P<said>[^\n]+)',
        "the namespace enforces Pod Security {name}, and the pod violates it: {said}",
        "keep the chart's podSecurityContext and securityContext, and give extraContainers the same",
        'FailedCreate: pods "cards-5d-x" is forbidden: violates PodSecurity "restricted:latest": runAsNonRoot != true',
    ),
    Cause(
        "admission-refused",
        r"admission webhook \"(?P<name>[^\"]+)\" denied the request: ?(?P<said>[^\n]*)",
        "the admission webhook {name} refuses an object of the release: {said}",
        "change the values that it objects to, or ask who runs the webhook",
        'FailedCreate: admission webhook "policy.example.com" denied the request: images must be signed',
    ),
    Cause(
        "admission-refused",
        r"ValidatingAdmissionPolicy '(?P<name>[^']+)' (?:with binding '[^']+' )?denied request: (?P<said>[^\n]*)",
        "the admission policy {name} refuses an object of the release: {said}",
        "change the values that it objects to, or ask who runs the policy",
        "FailedCreate: pods \"cards-5d-x\" is forbidden: ValidatingAdmissionPolicy 'tags' with binding 'tags' denied "
        "request: images need a digest",
    ),
    Cause(
        "admission-unreachable",
        r"failed calling webhook \"(?P<name>[^\"]+)\"",
        "the admission webhook {name} does not answer, so the API server creates nothing",
        "look at the Deployment behind the webhook, or remove its configuration if it is not used",
        'FailedCreate: Internal error occurred: failed calling webhook "pods.example.com": failed to call webhook: '
        'Post "https://hook.example.svc:443/": dial tcp 10.96.0.9:443: connect: connection refused',
    ),
    Cause(
        "out-of-memory",
        r"OOMKilled|OOM-killed|killed by the kernel for memory",
        "the container {container} needs more memory than its limit of {memory}, and the kernel killed it",
        "raise resources.requests.memory and resources.limits.memory; `lading values ARTIFACT` writes measured values",
        "OOMKilled: exit code 137",
    ),
    Cause(
        "too-little-memory",
        r"Insufficient memory|OutOfmemory",
        "no node has enough free memory for a pod, which requests {memory}",
        "lower resources.requests.memory, add a node, or remove pods from the nodes",
        "Unschedulable: 0/1 nodes are available: 1 Insufficient memory. preemption: 0/1 nodes are available",
    ),
    Cause(
        "too-little-cpu",
        r"Insufficient cpu|OutOfcpu",
        "no node has enough free CPU for a pod, which requests {cpu}",
        "lower resources.requests.cpu, add a node, or remove pods from the nodes",
        "Unschedulable: 0/1 nodes are available: 1 Insufficient cpu. preemption: 0/1 nodes are available",
    ),
    Cause(
        "too-little-of-a-resource",
        r"Insufficient (?P<resource>[\w./-]*\w)|(?P<many>Too many pods)|OutOf(?P<short>\w+)",
        "no node has enough of what a pod requests ({resource})",
        "lower the request, add a node, or install the resource's device plugin",
        "Unschedulable: 0/1 nodes are available: 1 Insufficient nvidia.com/gpu.",
    ),
    Cause(
        "node-selector",
        r"didn't match Pod's node affinity/selector|didn't match Pod's node selector|MatchNodeSelector|NodeAffinity",
        "no node has the labels that nodeSelector or affinity asks for",
        "label a node, or correct nodeSelector and affinity",
        "Unschedulable: 0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector.",
    ),
    Cause(
        "node-not-ready",
        r"untolerated taint(?:\(s\))? \{?node\.kubernetes\.io/[\w-]+|node\(s\) were unschedulable|"
        r"no nodes available|NodeLost|NodeNotReady",
        "no node can take the pod: they are not ready, or closed for new pods",
        "look at `kubectl get nodes` and `kubectl describe node`; `kubectl uncordon NODE` opens a closed one",
        "Unschedulable: 0/1 nodes are available: 1 node(s) had untolerated taint {node.kubernetes.io/disk-pressure: }.",
    ),
    Cause(
        "taint",
        r"untolerated taint|didn't tolerate",
        "every node that could take the pod has a taint that the pod does not tolerate: {said}",
        "add the taint to tolerations, or choose other nodes",
        "Unschedulable: 0/1 nodes are available: 1 node(s) had untolerated taint {team: other}.",
    ),
    Cause(
        "spread",
        r"didn't match pod topology spread constraints|didn't match pod (?:anti-)?affinity rules",
        "no node fits the rules that keep pods apart or together (spread, affinity)",
        "set spread.zones and spread.nodes to ScheduleAnyway, or add nodes",
        "Unschedulable: 0/2 nodes are available: 2 node(s) didn't match pod topology spread constraints.",
    ),
    Cause(
        "unschedulable",
        r"^(?:Unschedulable|FailedScheduling|SchedulingGated): (?P<said>[^\n]+)",
        "no node can take the pod: {said}",
        "look at the nodes with `kubectl describe nodes`",
        "Unschedulable: 0/1 nodes are available: 1 node(s) didn't have free ports for the requested pod ports.",
    ),
    Cause(
        "package-missing",
        r"(?P<said>[^\n]*pip install '?lading\[(?P<name>[\w,-]+)\][^\n]*)",
        "a setting needs a package that the image does not have: {said}",
        "use an image that has the extra {name}, or switch the setting off",
        "Error: the server cannot start: LADING_TRACING needs opentelemetry: pip install 'lading[otel]'",
    ),
    Cause(
        "wrong-setting",
        r"a setting cannot be used: (?P<said>[^\n]+)",
        "a setting cannot be used: {said}",
        "correct it in settings or extraEnv",
        "Error: a setting cannot be used: LADING_LANES=many: input should be a valid integer",
    ),
    Cause(
        "container-cannot-run",
        r"^(?:Init|Hook)?(?:StartError|ContainerCannotRun|RunContainerError|CreateContainer(?:Config)?Error): "
        r"(?:exit code \d+: )?(?P<said>.*)",
        "the container {container} cannot be run: {said}",
        "check image.kind and the image: the chart runs the command of an image that docker/serve.Containerfile or "
        "`bentoml containerize` built",
        'StartError: exit code 128: failed to create task: exec: "python": executable file not found in $PATH',
    ),
    Cause(
        "evicted",
        r"^(?:Evicted|Preempted|Preempting|DeadlineExceeded|Terminated|NodeShutdown): (?P<said>[^\n]+)",
        "the node ended a pod: {said}",
        "raise tmpSizeLimit or artifact.sizeLimit if a volume was full; else request in resources what the pod uses",
        'Evicted: Usage of EmptyDir volume "tmp" exceeds the limit "1Mi".',
    ),
    Cause(
        "worker-killed",
        r"(?P<said>[^\n]*worker (?:was killed|ended)[^\n]*)",
        "a worker process of the server ended: {said}",
        "read `kubectl logs POD --previous`; after SIGKILL raise resources.limits.memory",
        "Error: a worker was killed by SIGKILL, most likely for memory",
    ),
    Cause(
        "volume-not-mounted",
        r"^(?:FailedMount|FailedAttachVolume|FailedMapVolume): (?P<said>[^\n]+)",
        "a volume of the pod cannot be mounted: {said}",
        "look at the volume's claim or Secret, and at extraVolumes",
        'FailedMount: MountVolume.SetUp failed for volume "artifact" : mount failed: exit status 32',
        Rank.SYMPTOM,
    ),
    Cause(
        "pod-network",
        r"^(?:FailedCreatePodSandBox|NetworkNotReady): (?P<said>[^\n]+)",
        "the node cannot make the pod's network: {said}",
        "look at the node's network plugin",
        "FailedCreatePodSandBox: Failed to create pod sandbox: plugin type=calico failed (add): no free addresses",
    ),
    Cause(
        "server-refuses",
        r"(?:the server cannot start: |is not ready: )(?P<said>[^\n]+)",
        "the server does not start: {said}",
        "correct what it says; `kubectl logs` has the lines before it",
        "Error: the server cannot start: port 8080 of 0.0.0.0 is in use",
    ),
    Cause(
        "not-permitted",
        r"^failed: (?P<said>[^\n]*(?:is forbidden|cannot (?:create|patch|get|list)|field is immutable|is invalid:|"
        r"no matches for kind|already exists|cannot be imported|conflict)[^\n]*)",
        "the API server refuses an object of the release: {said}",
        "correct the values that it objects to; an object of another release needs another release name or namespace",
        'failed: Upgrade "cards" failed: cannot patch "cards" with kind Deployment: spec.selector: field is immutable',
    ),
    Cause(
        "kserve-silent",
        r"^NoStatus: (?P<said>[^\n]+)",
        "KServe has not looked at the InferenceService yet: its controller is not installed, or does not run",
        "install KServe and look at its pods (`kubectl get pods --namespace kserve`), or set mode=deployment",
        "NoStatus: the InferenceService cards has no status",
    ),
    Cause(
        "init-container",
        r"^Init\w+: exit code (?P<exit>\d+)(?:: (?P<said>.*))?",
        "the init container {container} fails with exit code {exit}: {said}",
        "read `kubectl logs POD --container {container}`",
        "InitError: exit code 1: the folder cannot be written",
        Rank.SYMPTOM,
    ),
    Cause(
        "hook-failed",
        r"^Hook\w+: exit code (?P<exit>\d+)(?:: (?P<said>.*))?",
        "the pod of a Job, a load test or `helm test` failed with exit code {exit}: {said}",
        "read its log: `kubectl logs POD`",
        "HookError: exit code 3: p99 is 80 ms, and the SLO allows 50 ms",
        Rank.SYMPTOM,
    ),
    Cause(
        "probe-failing",
        r"(?P<what>Startup|Readiness|Liveness) probe (?:failed|errored)[^:]*: (?P<said>[^\n]+)",
        "the {what} probe of the container {container} fails: {said}",
        "read the pod's log for why it is not ready; if it only starts slowly, give it a whole CPU or raise "
        "probes.startup.failureThreshold",
        "Unhealthy: Startup probe failed: HTTP probe failed with statuscode: 503",
        Rank.SYMPTOM,
    ),
    Cause(
        "crash-loop",
        r"^(?:Error|Completed|CrashLoopBackOff|ContainerStatusUnknown|BackOff): "
        r"(?:exit code (?P<exit>\d+)(?:: )?)?(?P<said>.*)",
        "the container {container} ends again and again with exit code {exit}: {said}",
        "read `kubectl logs POD --container {container} --previous`",
        "Error: exit code 1: ValueError: a line of the log",
        Rank.SYMPTOM,
    ),
    Cause(
        "autoscaler-blind",
        r"^(?:FailedGet\w+|ScaledObjectCheckFailed|TriggerError|InvalidSelector|FailedComputeMetricsReplicas): "
        r"(?P<said>[^\n]+)",
        "the autoscaler cannot read its metrics, so the number of pods stays: {said}",
        "install metrics-server for autoscaling.kind=hpa, or correct autoscaling.keda.serverAddress",
        "FailedGetResourceMetric: the HPA was unable to compute the replica count: unable to fetch metrics from "
        "resource metrics API",
        Rank.OUTCOME,
    ),
    Cause(
        "kserve-not-ready",
        r"^InferenceServiceNotReady: (?P<said>[^\n]+)",
        "the InferenceService is not ready: {said}",
        "look at its conditions with `kubectl describe inferenceservice`",
        "InferenceServiceNotReady: PredictorReady: MinimumReplicasUnavailable",
        Rank.OUTCOME,
    ),
    Cause(
        "helm-interrupted",
        r"^pending-\w+: (?P<said>[^\n]*)",
        "Helm has not finished its last revision: it still waits, or was interrupted",
        "wait for the other `helm` command, or run `helm rollback RELEASE` if there is none",
        "pending-upgrade: Preparing upgrade",
        Rank.OUTCOME,
    ),
    Cause(
        "rollout-stuck",
        r"ProgressDeadlineExceeded|timed out waiting|context deadline exceeded|not ready\. status|would exceed",
        "the rollout does not finish: {said}",
        "look at the pods: `kubectl describe pods`",
        'ProgressDeadlineExceeded: ReplicaSet "cards-5d" has timed out progressing.',
        Rank.OUTCOME,
    ),
    Cause(
        "helm-failed",
        r"^failed: (?P<said>[^\n]+)",
        "Helm's last revision failed: {said}",
        "correct what it says and run `helm upgrade` again",
        'failed: Upgrade "cards" failed: post-upgrade hooks failed: 1 error occurred',
        Rank.OUTCOME,
    ),
    Cause(
        "nothing-runs",
        r"^Scaled: (?P<said>[^\n]+)",
        "no pod is wanted: {said}",
        "`kubectl scale` the Deployment, or run `helm upgrade`; with KEDA a request brings a pod back",
        "Scaled: the Deployment cards has 0 replicas",
        Rank.OUTCOME,
    ),
    Cause(
        "starting",
        r"^Starting: (?P<said>[^\n]+)",
        "nothing is wrong so far, but the rollout is not finished: {said}",
        "wait, and ask again",
        "Starting: 1 of 2 pods of the Deployment cards are ready",
        Rank.OUTCOME,
    ),
)
