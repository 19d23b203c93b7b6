{{- /* Numbers of values files are floats to Helm; 50000000 must not become 5e+07. */ -}}
{{- define "lading.scalar" -}}
{{- if kindIs "float64" . -}}{{- if eq . (floor .) -}}{{ printf "%.0f" . }}{{- else -}}{{ . }}{{- end -}}
{{- else -}}{{ . }}{{- end -}}
{{- end -}}

{{- /* The ConfigMap's data: every setting as its environment variable. */ -}}
{{- define "lading.settings" -}}
{{- range $name, $value := .Values.settings }}
LADING_{{ upper $name }}: {{ include "lading.scalar" $value | quote }}
{{- end }}
{{- end -}}

{{- define "lading.drainSeconds" -}}
{{- include "lading.scalar" (get .Values.settings "drain_s" | default 30) -}}
{{- end -}}

{{- define "lading.preStopSeconds" -}}
{{- ternary 0 (int .Values.shutdown.preStopSeconds) (eq .Values.shutdown.preStop "none") -}}
{{- end -}}

{{- /* The clock of the grace period starts with preStop, so both have to fit in. */ -}}
{{- define "lading.leastGracePeriod" -}}
{{- add (include "lading.preStopSeconds" . | int) (include "lading.drainSeconds" . | int) 10 -}}
{{- end -}}

{{- define "lading.gracePeriod" -}}
{{- .Values.shutdown.gracePeriodSeconds | default (include "lading.leastGracePeriod" .) -}}
{{- end -}}

{{- /* A duration such as 10s, as Gateway API writes it, from the deadline in milliseconds. */ -}}
{{- define "lading.deadlineMs" -}}
{{- include "lading.scalar" (get .Values.settings "deadline_ms" | default 2000) -}}
{{- end -}}
