{{- /* Groups of rules for the SLOs of `monitoring.slos`, and those of the chart's SLOs that none of them replaces. The numbers
of an SLO go where monitoring/slo.yaml.tpl names them, as `lading monitor` would write them.
(dict "slos" LIST "groups" LIST "template" MAP) */ -}}
{{- define "lading.sloGroups" -}}
{{- $ids := list -}}{{- $models := list -}}
{{- range .slos -}}{{- $ids = append $ids (include "lading.sloId" .) -}}{{- end -}}
{{- $kept := list -}}
{{- range .groups -}}
{{- $id := regexReplaceAll "^lading-slo-(.*)-(availability|latency)-(ratios|alerts)$" .name "${1}" -}}
{{- $models = append $models $id -}}
{{- if not (has $id $ids) -}}{{- $kept = append $kept . -}}{{- end -}}
{{- end -}}
{{- $models = concat $models $ids | uniq | sortAlpha -}}
{{- $others := printf `model!~\"%s\"` (append (without $models "other") "unknown" | join "|") -}}
{{- $groups := regexReplaceAll `model!~\\"[^"\\]*\\"` ($kept | toJson) $others | fromJsonArray -}}
{{- $template := .template -}}
{{- range $slo := .slos -}}
{{- $days := $slo.window_days | default 30 | int -}}
{{- $milliseconds := printf "%v" $slo.latency.threshold_ms -}}
{{- range $of, $defaults := dict "availability" 0.999 "latency" 0.99 -}}
{{- $given := index $slo $of | default dict -}}
{{- $objective := $given.objective | default $defaults | float64 -}}
{{- $budget := subf 1.0 $objective -}}
{{- $text := index $template.groups $of | toJson -}}
{{- if eq $slo.model "*" -}}{{- $text = replace `model=\"SLO-MODEL\"` $others $text -}}{{- end -}}
{{- if eq ($given.shed | default "bad") "left out" -}}{{- $text = replace `|429\"` `\"` $text -}}{{- end -}}
{{- $text = $text | replace "SLO-MODEL" (include "lading.sloId" $slo) | replace "SLO-DAYS" (toString $days) -}}
{{- $text = $text | replace "SLO-REQUESTS" ($slo.min_requests | default 20 | int | toString) -}}
{{- $text = $text | replace "SLO-OBJECTIVE" (printf "%v" $objective) | replace "SLO-PERCENT" (printf "%.6g" (mulf 100.0 $objective)) -}}
{{- $text = $text | replace "SLO-BUDGET-PERCENT" (printf "%.3g" (mulf 100.0 $budget)) | replace "SLO-BUDGET" (printf "%.6g" $budget) -}}
{{- $text = $text | replace "SLO-THRESHOLD-MS" $milliseconds | replace "SLO-BUCKET" (get $template.buckets $milliseconds) -}}
{{- $groups = concat $groups ($text | fromJsonArray) -}}
{{- end -}}
{{- end -}}
{{- dict "groups" $groups | toJson -}}
{{- end -}}

{{- define "lading.sloId" -}}
{{- ternary "other" .model (eq .model "*") -}}
{{- end -}}
