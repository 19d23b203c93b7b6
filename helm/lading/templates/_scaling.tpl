{{- /* Minimum number of running pods, with any autoscaler. */ -}}
{{- define "lading.fewestReplicas" -}}
{{- if ne .Values.autoscaling.kind "none" -}}{{ int .Values.autoscaling.minReplicas }}
{{- else if kindIs "invalid" .Values.replicaCount -}}2
{{- else -}}{{ int .Values.replicaCount }}{{- end -}}
{{- end -}}

{{- /* An autoscaler owns .spec.replicas, so it is left out. But a Deployment that was never scaled owes its number to this
chart alone, and leaving it out once would set it to 1: until the autoscaler has written, the living number stays. */ -}}
{{- define "lading.replicas" -}}
{{- if eq .Values.autoscaling.kind "none" -}}
{{- if not (kindIs "invalid" .Values.replicaCount) }}
replicas: {{ int .Values.replicaCount }}
{{- end }}
{{- else -}}
{{- $live := lookup "apps/v1" "Deployment" .Release.Namespace (include "lading.fullname" .) -}}
{{- if $live -}}
{{- $scaled := false -}}
{{- range $live.metadata.managedFields -}}{{- if eq (.subresource | default "") "scale" -}}{{- $scaled = true -}}{{- end -}}{{- end -}}
{{- if not $scaled }}
replicas: {{ max (int $live.spec.replicas) (int .Values.autoscaling.minReplicas) }}
{{- end }}
{{- end }}
{{- end }}
{{- end -}}

{{- /* The labels by which Prometheus' series of this release are found. */ -}}
{{- define "lading.seriesSelector" -}}
{{- if .Values.autoscaling.keda.selector -}}{{ .Values.autoscaling.keda.selector }}
{{- else -}}namespace="{{ .Release.Namespace }}",pod=~"{{ include "lading.podPattern" . }}"{{- end -}}
{{- end -}}

{{- /* The names of this release's pods, and of no other's: the Deployment, its hash and five characters, in the letters that
Kubernetes generates names from. `cards-.*` would also be those of `cards-b`. Kubernetes cuts a name before the five
characters at 58. */ -}}
{{- define "lading.podPattern" -}}
{{- $name := include "lading.serviceName" . -}}
{{- $letters := "bcdfghjklmnpqrstvwxz2456789" -}}
{{- if gt (len $name) 46 -}}{{ $name | trunc 57 | trimSuffix "-" }}[-{{ $letters }}]*
{{- else -}}{{ $name }}-[{{ $letters }}]{5,10}-[{{ $letters }}]{5}{{- end -}}
{{- end -}}

{{- /* Requests in flight on average, by Little's law: the seconds of requests that ended in a second. A gauge that is
looked at every few seconds would miss requests of milliseconds. Pods that nobody has asked have no such series: they are
0, and only pods that Prometheus does not see are nothing, which KEDA answers with the fallback. */ -}}
{{- define "lading.inFlightQuery" -}}
{{- $selector := include "lading.seriesSelector" . -}}
sum(rate(lading_request_duration_seconds_sum{ {{- $selector -}} }[{{ .Values.autoscaling.keda.window }}])) or 0 * sum(lading_ready{ {{- $selector -}} })
{{- end -}}

{{- /* Mean milliseconds in the queue; 0 where nothing was asked, for a quotient of nothing is NaN. */ -}}
{{- define "lading.queueQuery" -}}
{{- $selector := include "lading.seriesSelector" . -}}
1000 * sum(rate(lading_queue_duration_seconds_sum{ {{- $selector -}} }[{{ .Values.autoscaling.keda.window }}])) / clamp_min(sum(rate(lading_queue_duration_seconds_count{ {{- $selector -}} }[{{ .Values.autoscaling.keda.window }}])), 1e-9)
{{- end -}}

{{- define "lading.scaleTarget" -}}
apiVersion: apps/v1
kind: Deployment
name: {{ include "lading.serviceName" . }}
{{- end -}}
