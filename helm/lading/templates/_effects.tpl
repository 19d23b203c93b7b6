{{- /* Refuses values that have no effect, and those that the API server would refuse together. */ -}}
{{- define "lading.checkEffects" -}}
{{- $v := .Values -}}
{{- if and $v.loadTest.gate (not $v.loadTest.enabled) -}}
{{- fail "loadTest.gate has no effect without loadTest.enabled: no load test would run, and no release would be refused" -}}
{{- end -}}
{{- if and (or $v.loadTest.report.claimName $v.loadTest.report.uri) (not $v.loadTest.enabled) -}}
{{- fail "loadTest.report has no effect without loadTest.enabled: no load test would run" -}}
{{- end -}}
{{- if and $v.loadTest.report.credentialsSecret (not $v.loadTest.report.uri) -}}
{{- fail "loadTest.report.credentialsSecret has no effect without loadTest.report.uri, the bucket that it opens" -}}
{{- end -}}
{{- if eq (toString $v.replicaCount) "0" -}}
{{- fail "replicaCount=0 answers no request: set 1 or more, or remove the release with `helm uninstall`" -}}
{{- end -}}
{{- if and $v.podDisruptionBudget.enabled (lt (int $v.podDisruptionBudget.maxUnavailable) 1) -}}
{{- fail (printf "podDisruptionBudget.maxUnavailable=%d lets no pod go, so that no node could ever be drained: set 1 or more, or podDisruptionBudget.enabled=false" (int $v.podDisruptionBudget.maxUnavailable)) -}}
{{- end -}}
{{- $fewest := include "lading.fewestReplicas" . | int -}}
{{- if and $v.podDisruptionBudget.enabled (gt $fewest 1) (ge (int $v.podDisruptionBudget.maxUnavailable) $fewest) -}}
{{- fail (printf "podDisruptionBudget.maxUnavailable=%d limits nothing, because %d pods run: set less, or podDisruptionBudget.enabled=false" (int $v.podDisruptionBudget.maxUnavailable) $fewest) -}}
{{- end -}}
{{- $age := get $v.settings "grpc_connection_s" | default 10 | float64 -}}
{{- if and (ne $v.shutdown.preStop "none") (include "lading.hasPods" .) (le (float64 $v.shutdown.preStopSeconds) $age) -}}
{{- fail (printf "shutdown.preStopSeconds=%d is not above settings.grpc_connection_s=%v, the age at which gRPC connections move to other pods: calls would be lost; set more, or settings.grpc_connection_s to two thirds of it" (int $v.shutdown.preStopSeconds) $age) -}}
{{- end -}}
{{- if ge (int $v.rollout.minReadySeconds) (int $v.rollout.progressDeadlineSeconds) -}}
{{- fail (printf "rollout.minReadySeconds=%d is not below rollout.progressDeadlineSeconds=%d: every rollout would fail" (int $v.rollout.minReadySeconds) (int $v.rollout.progressDeadlineSeconds)) -}}
{{- end -}}
{{- if and (eq $v.autoscaling.kind "keda") (gt (int $v.autoscaling.keda.fallback.replicas) (int $v.autoscaling.maxReplicas)) -}}
{{- fail (printf "autoscaling.keda.fallback.replicas=%d is more than autoscaling.maxReplicas=%d" (int $v.autoscaling.keda.fallback.replicas) (int $v.autoscaling.maxReplicas)) -}}
{{- end -}}
{{- include "lading.checkSleep" . -}}
{{- if ne $v.artifact.source "volume" -}}
{{- if $v.artifact.claimName -}}{{- fail (printf "artifact.claimName is read with artifact.source=volume alone, and it is %s" $v.artifact.source) -}}{{- end -}}
{{- end -}}
{{- if and (ne $v.artifact.source "fetch") $v.artifact.credentialsSecret -}}
{{- fail (printf "artifact.credentialsSecret is read with artifact.source=fetch alone, and it is %s" $v.artifact.source) -}}
{{- end -}}
{{- if and (eq $v.artifact.source "fetch") $v.artifact.path -}}
{{- fail "artifact.path has no effect with artifact.source=fetch: the folder is the one of artifact.uri" -}}
{{- end -}}
{{- if and (ne $v.auth.key "keys") (not $v.auth.existingSecret) -}}
{{- fail (printf "auth.key=%s has no effect without auth.existingSecret: requests would need no key" $v.auth.key) -}}
{{- end -}}
{{- if and $v.tls.caConfigMap (or (not $v.tls.existingSecret) (not $v.gateway.enabled) $v.gke.enabled) -}}
{{- fail (printf "tls.caConfigMap=%s is read by a Gateway with tls.existingSecret alone, and not by GKE's, which trusts every certificate of a pod: leave it out" $v.tls.caConfigMap) -}}
{{- end -}}
{{- if and $v.networkPolicy.from (not $v.networkPolicy.enabled) -}}
{{- fail "networkPolicy.from has no effect with networkPolicy.enabled=false: all could send requests" -}}
{{- end -}}
{{- if and $v.serviceAccount.annotations (not $v.serviceAccount.create) -}}
{{- fail "serviceAccount.annotations has no effect with serviceAccount.create=false: annotate the ServiceAccount that exists" -}}
{{- end -}}
{{- include "lading.checkRecording" . -}}
{{- include "lading.checkDrift" . -}}
{{- include "lading.checkNodePorts" . -}}
{{- include "lading.checkSecurity" . -}}
{{- range $probe := list "startup" "liveness" -}}
{{- $times := index $v.probes $probe "successThreshold" | default 1 | int -}}
{{- if ne $times 1 -}}{{- fail (printf "probes.%s.successThreshold=%d must be 1, as Kubernetes demands of this probe" $probe $times) -}}{{- end -}}
{{- end -}}
{{- if $v.probes.readiness.terminationGracePeriodSeconds -}}
{{- fail "probes.readiness.terminationGracePeriodSeconds has no effect: a pod that is not ready is not ended" -}}
{{- end -}}
{{- $share := toString $v.rollout.maxUnavailable -}}
{{- if and (hasSuffix "%" $share) (gt (trimSuffix "%" $share | int) 100) -}}
{{- fail (printf "rollout.maxUnavailable=%s is more than all pods: write 100%% or less" $share) -}}
{{- end -}}
{{- if eq $v.autoscaling.kind "keda" -}}
{{- if lt (include "lading.seconds" $v.autoscaling.keda.window | float64) (mulf 2 (include "lading.seconds" $v.monitoring.interval | float64)) -}}
{{- fail (printf "autoscaling.keda.window=%s is less than two scrapes of monitoring.interval=%s, and a rate needs two: set four times the interval" $v.autoscaling.keda.window $v.monitoring.interval) -}}
{{- end -}}
{{- end -}}
{{- if and (eq $v.mode "deployment") (or $v.kserve.annotations (ne $v.kserve.kind "InferenceService")) -}}
{{- fail "kserve.kind and kserve.annotations have no effect with mode=deployment: set mode=kserve" -}}
{{- end -}}
{{- range $host := $v.gateway.grpcHostnames -}}
{{- if has $host $v.gateway.hostnames -}}
{{- fail (printf "%s is in gateway.hostnames and in gateway.grpcHostnames: give gRPC a host name of its own" $host) -}}
{{- end -}}
{{- end -}}
{{- if not (kindIs "invalid" $v.kserve.canaryTrafficPercent) -}}
{{- fail (printf "kserve.canaryTrafficPercent=%d has no effect in KServe's Standard mode, which this chart is for: all requests would go to the new revision; use `lading canary`" (int $v.kserve.canaryTrafficPercent)) -}}
{{- end -}}
{{- $kserveMode := get $v.kserve.annotations "serving.kserve.io/deploymentMode" | default "Standard" -}}
{{- if not (has $kserveMode (list "Standard" "RawDeployment")) -}}
{{- fail (printf "kserve.annotations: serving.kserve.io/deploymentMode=%s cannot run this pod, because Knative allows one port and no grace period of its own: use Standard" $kserveMode) -}}
{{- end -}}
{{- if and $v.loadTest.enabled (not (include "lading.hasPods" .)) -}}
{{- fail (printf "loadTest.enabled has no pods to ask: kserve.kind=%s makes none" $v.kserve.kind) -}}
{{- end -}}
{{- range $key, $_ := $v.podLabels -}}
{{- if has $key (list "app.kubernetes.io/name" "app.kubernetes.io/instance" "app.kubernetes.io/component") -}}
{{- fail (printf "podLabels.%s is set by the chart, whose selectors need it: choose another label" $key) -}}
{{- end -}}
{{- end -}}
{{- $alerting := $v.monitoring.alerting -}}
{{- if and $alerting.enabled (not $alerting.pages) -}}
{{- fail "monitoring.alerting.enabled needs monitoring.alerting.pages, who gets the alerts, for example {webhookConfigs: [{url: https://...}]}" -}}
{{- end -}}
{{- if and (or $alerting.pages $alerting.tickets) (not $alerting.enabled) -}}
{{- fail "monitoring.alerting.pages and monitoring.alerting.tickets have no effect with monitoring.alerting.enabled=false" -}}
{{- end -}}
{{- range $at, $receiver := dict "pages" $alerting.pages "tickets" $alerting.tickets -}}
{{- range $key, $_ := $receiver -}}
{{- if not (hasSuffix "Configs" $key) -}}{{- fail (printf "monitoring.alerting.%s.%s is no receiver of the operator: write webhookConfigs, slackConfigs, emailConfigs, pagerdutyConfigs or another of its ...Configs" $at $key) -}}{{- end -}}
{{- end -}}
{{- end -}}
{{- if and $v.monitoring.slos (not $v.monitoring.rules.enabled) -}}
{{- fail "monitoring.slos has no effect with monitoring.rules.enabled=false: no rule would be installed" -}}
{{- end -}}
{{- $promised := list -}}
{{- range $v.monitoring.slos -}}
{{- if has .model $promised -}}{{- fail (printf "monitoring.slos has two SLOs for model %s: leave one" .model) -}}{{- end -}}
{{- $promised = append $promised .model -}}
{{- end -}}
{{- $alerts := list -}}
{{- range $path, $_ := .Files.Glob "monitoring/*.yaml" -}}
{{- range (get ($.Files.Get $path | fromYaml) "groups") -}}{{- range .rules -}}{{- if .alert -}}{{- $alerts = append $alerts .alert -}}{{- end -}}{{- end -}}{{- end -}}
{{- end -}}
{{- range $v.monitoring.rules.exclude -}}
{{- if not (has . $alerts) -}}{{- fail (printf "monitoring.rules.exclude names %s, which is no alert of this chart: its folder monitoring has their names" .) -}}{{- end -}}
{{- end -}}
{{- end -}}

{{- /* A release without pods needs something else that sees requests, and starts it. */ -}}
{{- define "lading.checkSleep" -}}
{{- $auto := .Values.autoscaling -}}
{{- $sleeps := and (ne $auto.kind "none") (eq (int $auto.minReplicas) 0) -}}
{{- if and (eq (int $auto.minReplicas) 0) (ne $auto.kind "keda") -}}
{{- fail (printf "autoscaling.minReplicas=0 needs autoscaling.kind=keda, and it is %s: nothing would start a pod again" $auto.kind) -}}
{{- end -}}
{{- if and $sleeps (eq .Values.mode "kserve") -}}
{{- fail "autoscaling.minReplicas=0 needs mode=deployment: in Standard mode KServe keeps at least one pod" -}}
{{- end -}}
{{- if and $sleeps (not $auto.keda.wake.query) -}}
{{- $wakes := false -}}
{{- range $auto.keda.extraTriggers -}}{{- if not (has .type (list "cpu" "memory")) -}}{{- $wakes = true -}}{{- end -}}{{- end -}}
{{- if not $wakes -}}
{{- fail "autoscaling.minReplicas=0 needs a trigger that can start the first pod, because without pods the server counts no request: set autoscaling.keda.wake.query to what your ingress or gateway counts, or add one to autoscaling.keda.extraTriggers, such as cron or a queue (cpu and memory need a pod)" -}}
{{- end -}}
{{- end -}}
{{- if and $auto.keda.wake.query (not $sleeps) -}}
{{- fail "autoscaling.keda.wake.query has no effect without autoscaling.kind=keda and autoscaling.minReplicas=0" -}}
{{- end -}}
{{- end -}}

{{- define "lading.seconds" -}}
{{- mulf (regexFind "^[0-9]+" . | float64) (get (dict "ms" 0.001 "s" 1.0 "m" 60.0 "h" 3600.0) (regexFind "[a-z]+$" .)) -}}
{{- end -}}

{{- define "lading.checkSecurity" -}}
{{- $pod := .Values.podSecurityContext -}}{{- $container := .Values.securityContext -}}
{{- range $at, $context := dict "podSecurityContext" $pod "securityContext" $container -}}
{{- if and (eq (toString (index $context "runAsUser")) "0") (index $pod "runAsNonRoot") (ne (toString (index $container "runAsNonRoot")) "false") -}}
{{- fail (printf "%s.runAsUser=0 is root, and podSecurityContext.runAsNonRoot is true: no container would start" $at) -}}
{{- end -}}
{{- end -}}
{{- if and (index $container "privileged") (eq (toString (index $container "allowPrivilegeEscalation")) "false") -}}
{{- fail "securityContext.privileged=true needs allowPrivilegeEscalation=true, and the server needs neither" -}}
{{- end -}}
{{- end -}}

{{- define "lading.checkNodePorts" -}}
{{- $taken := dict -}}
{{- range $name, $port := .Values.service.nodePorts -}}
{{- if ne (int $port) 0 -}}
{{- if or (ne $.Values.mode "deployment") (eq $.Values.service.type "ClusterIP") -}}
{{- fail (printf "service.nodePorts.%s=%d needs service.type=NodePort or LoadBalancer and mode=deployment" $name (int $port)) -}}
{{- end -}}
{{- if and (eq $name "bento") (not $.Values.bento.enabled) -}}
{{- fail "service.nodePorts.bento has no effect with bento.enabled=false" -}}
{{- end -}}
{{- with get $taken (toString $port) -}}
{{- fail (printf "service.nodePorts.%s and service.nodePorts.%s are both %d: a port has one service" . $name (int $port)) -}}
{{- end -}}
{{- $_ := set $taken (toString $port) $name -}}
{{- end -}}
{{- end -}}
{{- if and (eq .Values.mode "kserve") (ne .Values.service.type "ClusterIP") -}}
{{- fail (printf "service.type=%s has no effect with mode=kserve, where KServe makes the Service" .Values.service.type) -}}
{{- end -}}
{{- end -}}

{{- /* Names that a pod may have once: of volumes, of mount paths and of containers. */ -}}
{{- define "lading.checkVolumes" -}}
{{- $v := .Values -}}
{{- $volumes := list "tmp" -}}{{- $paths := list "/tmp" -}}
{{- if ne $v.artifact.source "image" -}}{{- $volumes = append $volumes "artifact" -}}{{- $paths = append $paths "/artifacts" -}}{{- end -}}
{{- with include "lading.trustedKeysPath" . -}}{{- $volumes = append $volumes "trusted-keys" -}}{{- $paths = append $paths . -}}{{- end -}}
{{- if $v.auth.existingSecret -}}{{- $volumes = append $volumes "keys" -}}{{- $paths = append $paths "/etc/lading/keys" -}}{{- end -}}
{{- if $v.tls.existingSecret -}}{{- $volumes = append $volumes "tls" -}}{{- $paths = append $paths "/etc/lading/tls" -}}{{- end -}}
{{- if $v.payloadLog.claimName -}}{{- $volumes = append $volumes "payloads" -}}{{- $paths = append $paths (include "lading.setting" (dict "root" . "name" "payload_log")) -}}{{- end -}}
{{- range $v.extraVolumes -}}
{{- include "lading.checkForm" (dict "form" "object" "value" (toString .name) "path" "a name of extraVolumes") -}}
{{- if eq (len .) 1 -}}{{- fail (printf "extraVolumes: %s has no source: add one, such as emptyDir: {}" .name) -}}{{- end -}}
{{- if has .name $volumes -}}{{- fail (printf "extraVolumes: a volume %s exists already: choose another name" .name) -}}{{- end -}}
{{- $volumes = append $volumes .name -}}
{{- end -}}
{{- range $v.extraVolumeMounts -}}
{{- if not (has .name $volumes) -}}{{- fail (printf "extraVolumeMounts: no volume is named %s: add it to extraVolumes" .name) -}}{{- end -}}
{{- if contains ":" .mountPath -}}{{- fail (printf "extraVolumeMounts: mountPath=%s has a colon, which Kubernetes refuses: choose another path" .mountPath) -}}{{- end -}}
{{- if has .mountPath $paths -}}{{- fail (printf "extraVolumeMounts: %s is mounted already: choose another mountPath" .mountPath) -}}{{- end -}}
{{- $paths = append $paths .mountPath -}}
{{- end -}}
{{- $containers := list (ternary "kserve-container" "server" (eq $v.mode "kserve")) -}}
{{- if eq $v.artifact.source "fetch" -}}
{{- $containers = append $containers "fetch" -}}{{- range $number, $_ := $v.artifact.more -}}{{- $containers = append $containers (printf "fetch-%d" (add1 $number)) -}}{{- end -}}
{{- end -}}
{{- range concat $v.extraInitContainers $v.extraContainers -}}
{{- include "lading.checkForm" (dict "form" "object" "value" (toString .name) "path" "a name of extraContainers or extraInitContainers") -}}
{{- if has .name $containers -}}{{- fail (printf "extraContainers, extraInitContainers: a container %s exists already: choose another name" .name) -}}{{- end -}}
{{- $containers = append $containers .name -}}
{{- end -}}
{{- end -}}

{{- /* Refuses values of something that is switched off. Only those whose default is empty: a user has set them. A release
that keeps all values of an older chart has that chart's defaults of the others. */ -}}
{{- define "lading.checkSwitches" -}}
{{- $v := .Values -}}
{{- $monitor := or $v.monitoring.rules.enabled (not (has $v.monitoring.scrape (list "none" "annotations"))) -}}
{{- $groups := dict
  "ingress." (dict "on" $v.ingress.enabled "by" "ingress.enabled")
  "gateway." (dict "on" $v.gateway.enabled "by" "gateway.enabled")
  "gke." (dict "on" $v.gke.enabled "by" "gke.enabled")
  "frontend." (dict "on" $v.frontend.enabled "by" "frontend.enabled")
  "loadTest." (dict "on" $v.loadTest.enabled "by" "loadTest.enabled")
  "networkPolicy." (dict "on" $v.networkPolicy.enabled "by" "networkPolicy.enabled")
  "monitoring.labels" (dict "on" $monitor "by" "a monitor in monitoring.scrape or monitoring.rules.enabled")
  "monitoring.rules." (dict "on" $v.monitoring.rules.enabled "by" "monitoring.rules.enabled")
  "monitoring.dashboards." (dict "on" $v.monitoring.dashboards.enabled "by" "monitoring.dashboards.enabled")
  "autoscaling.hpa." (dict "on" (eq $v.autoscaling.kind "hpa") "by" "autoscaling.kind=hpa")
  "autoscaling.keda." (dict "on" (eq $v.autoscaling.kind "keda") "by" "autoscaling.kind=keda")
  "service.annotations" (dict "on" (eq $v.mode "deployment") "by" "mode=deployment")
-}}
{{- range $path, $value := .Files.Get "defaults.json" | fromJson -}}
{{- range $prefix, $switch := $groups -}}
{{- if and (hasPrefix $prefix $path) (not $switch.on) (not $value.default) -}}
{{- $is := $v -}}{{- range splitList "." $path -}}{{- $is = index $is . -}}{{- end -}}
{{- if $is -}}{{- fail (printf "%s has no effect without %s: set it, or remove the value" $path $switch.by) -}}{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if and (eq $v.mode "kserve") (ne $v.kserve.kind "InferenceService") (dig "model_control" false $v.settings) -}}
{{- fail (printf "settings.model_control has no effect with kserve.kind=%s: KServe names the model" $v.kserve.kind) -}}
{{- end -}}
{{- if and (dig "model_control" false $v.settings) (not $v.artifact.models) -}}
{{- fail "settings.model_control needs artifact.models: the folder whose models clients load and unload" -}}
{{- end -}}
{{- end -}}
