{{- define "lading.podAnnotations" -}}
{{- /* On the pod template: a changed setting is a changed template, and that rolls the pods. */ -}}
checksum/settings: {{ include "lading.settings" . | sha256sum }}
kubectl.kubernetes.io/default-container: {{ ternary "kserve-container" "server" (eq .Values.mode "kserve") }}
{{- if eq .Values.monitoring.scrape "annotations" }}
prometheus.io/scrape: "true"
prometheus.io/path: /metrics
prometheus.io/port: "8080"
prometheus.io/scheme: {{ include "lading.scheme" . }}
{{- end }}
{{- with .Values.podAnnotations }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "lading.spread" -}}
{{- $rows := list -}}
{{- range $key, $when := dict "topology.kubernetes.io/zone" .Values.spread.zones "kubernetes.io/hostname" .Values.spread.nodes -}}
{{- if not (has $when (list "off" "false")) -}}
{{- $selector := dict "matchLabels" (include "lading.podSelector" $ | fromYaml) -}}
{{- $rows = append $rows (dict "maxSkew" 1 "topologyKey" $key "whenUnsatisfiable" $when "labelSelector" $selector "matchLabelKeys" (list "pod-template-hash")) -}}
{{- end -}}
{{- end -}}
{{- with $rows }}
topologySpreadConstraints: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- /* All of a pod's spec but the server's container, which each mode names as it must. */ -}}
{{- define "lading.podSpec" -}}
serviceAccountName: {{ include "lading.serviceAccountName" . | quote }}
automountServiceAccountToken: false
enableServiceLinks: false
terminationGracePeriodSeconds: {{ include "lading.gracePeriod" . }}
securityContext: {{- toYaml .Values.podSecurityContext | nindent 2 }}
{{- with .Values.imagePullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
{{- if or .Values.extraInitContainers (eq .Values.artifact.source "fetch") }}
initContainers:
  {{- with .Values.extraInitContainers }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
  {{- include "lading.fetchContainer" (dict "root" . "resources" .Values.resources) | indent 2 }}
{{- end }}
{{- include "lading.volumes" . }}
{{- include "lading.spread" . }}
{{- include "lading.placement" . }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . | quote }}
{{- end }}
{{- with .Values.runtimeClassName }}
runtimeClassName: {{ . | quote }}
{{- end }}
{{- end -}}

{{- define "lading.placement" -}}
{{- with .Values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "lading.volumes" }}
volumes:
  - name: tmp
    emptyDir: {sizeLimit: {{ .Values.tmpSizeLimit | quote }}}
  {{- include "lading.artifactVolumes" . | indent 2 }}
  {{- include "lading.trustedKeysVolume" . | indent 2 }}
  {{- with .Values.auth.existingSecret }}
  - name: keys
    secret: {secretName: {{ . | quote }}}
  {{- end }}
  {{- with .Values.tls.existingSecret }}
  - name: tls
    secret: {secretName: {{ . | quote }}}
  {{- end }}
  {{- with .Values.payloadLog.claimName }}
  - name: payloads
    persistentVolumeClaim: {claimName: {{ . | quote }}}
  {{- end }}
  {{- with .Values.extraVolumes }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end -}}

{{- /* A pod of `helm test`: the server's image and artifact, without the server. */ -}}
{{- define "lading.testPodSpec" -}}
serviceAccountName: {{ include "lading.serviceAccountName" . | quote }}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext: {{- toYaml .Values.podSecurityContext | nindent 2 }}
{{- with .Values.imagePullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
{{- if eq .Values.artifact.source "fetch" }}
initContainers:
  {{- include "lading.fetchContainer" (dict "root" . "resources" .Values.test.resources) | indent 2 }}
{{- end }}
{{- include "lading.volumes" . }}
{{- include "lading.placement" . }}
{{- end -}}
