{{- define "lading.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 53 | trimSuffix "-" -}}
{{- else -}}
{{- $name := .Values.nameOverride | default .Chart.Name -}}
{{- ternary .Release.Name (printf "%s-%s" .Release.Name $name) (or (contains $name .Release.Name) (eq .Chart.Name $name)) | trunc 53 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "lading.serviceAccountName" -}}
{{- .Values.serviceAccount.name | default (ternary (include "lading.fullname" .) "default" .Values.serviceAccount.create) -}}
{{- end -}}

{{- /* The Service that requests go to: the chart's, or the one that KServe makes of the InferenceService. */ -}}
{{- define "lading.serviceName" -}}
{{- include "lading.fullname" . -}}{{- if eq .Values.mode "kserve" -}}-predictor{{- end -}}
{{- end -}}

{{- define "lading.servicePort" -}}
{{- if eq .root.Values.mode "kserve" -}}{{- get (dict "http" 80 "grpc" 9000) .port -}}
{{- else -}}{{- get (dict "http" 8080 "grpc" 9000 "bento" 3000) .port -}}{{- end -}}
{{- end -}}

{{- /* Never changes from one version to the next: a Deployment's selector cannot be changed. */ -}}
{{- define "lading.selectorLabels" -}}
app.kubernetes.io/name: lading
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/component: server
{{- end -}}

{{- /* Labels of every object; for another `component` than the server's, pass (dict "root" . "component" NAME). */ -}}
{{- define "lading.labels" -}}
{{- include "lading.labelsOf" (dict "root" . "component" "server") -}}
{{- end -}}

{{- define "lading.labelsOf" -}}
app.kubernetes.io/name: lading
app.kubernetes.io/instance: {{ .root.Release.Name | quote }}
app.kubernetes.io/component: {{ .component }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- end -}}

{{- /* What the pods that serve are chosen by, also where KServe makes them. */ -}}
{{- define "lading.podSelector" -}}
{{- if eq .Values.mode "kserve" -}}
serving.kserve.io/inferenceservice: {{ include "lading.fullname" . }}
{{- else -}}
{{ include "lading.selectorLabels" . }}
{{- end -}}
{{- end -}}

{{- define "lading.frontendSelector" -}}
app.kubernetes.io/name: lading
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/component: frontend
{{- end -}}

{{- define "lading.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}{{ .repository }}@{{ .digest }}{{- else -}}{{ .repository }}:{{ .tag | default $.Chart.AppVersion }}{{- end -}}
{{- end -}}
{{- end -}}

{{- /* True where this chart makes pods: not for a runtime that other InferenceServices name. */ -}}
{{- define "lading.hasPods" -}}
{{- if or (eq .Values.mode "deployment") (eq .Values.kserve.kind "InferenceService") -}}true{{- end -}}
{{- end -}}

{{- define "lading.scheme" -}}
{{- ternary "http" "https" (empty .Values.tls.existingSecret) -}}
{{- end -}}

{{- /* What a port of the Service speaks, for load balancers and meshes. GKE's Gateway knows names of its own for TLS.
(dict "root" . "port" NAME) */ -}}
{{- define "lading.appProtocol" -}}
{{- $grpc := eq .port "grpc" -}}
{{- if not .root.Values.tls.existingSecret -}}{{- ternary "kubernetes.io/h2c" "http" $grpc -}}
{{- else if .root.Values.gke.enabled -}}{{- ternary "HTTP2" "HTTPS" $grpc -}}
{{- else -}}https{{- end -}}
{{- end -}}

{{- /* The name inside the cluster, which a certificate has to hold. */ -}}
{{- define "lading.host" -}}
{{- printf "%s.%s.svc" (include "lading.serviceName" .) .Release.Namespace -}}
{{- end -}}

{{- /* Where clients inside the cluster find this release. */ -}}
{{- define "lading.addresses" -}}
{{- $host := include "lading.host" . -}}
- name: LADING_URL
  value: {{ include "lading.scheme" . }}://{{ $host }}:{{ include "lading.servicePort" (dict "root" . "port" "http") }}
- name: LADING_GRPC
  value: {{ $host }}:{{ include "lading.servicePort" (dict "root" . "port" "grpc") }}
{{- end -}}
