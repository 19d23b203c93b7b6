# Generated from SLOs by `lading monitor`, or by `make generate` for the chart.
buckets:
  '0.1': '0.0001'
  '0.2': '0.0002'
  '0.4': '0.0004'
  '0.6': '0.0006'
  '0.8': '0.0008'
  '1': '0.001'
  '1.5': '0.0015'
  '2': '0.002'
  '3': '0.003'
  '4': '0.004'
  '6': '0.006'
  '8': '0.008'
  '12': '0.012'
  '16': '0.016'
  '25': '0.025'
  '50': '0.05'
  '100': '0.1'
  '250': '0.25'
  '500': '0.5'
  '1000': '1.0'
  '2500': '2.5'
  '10000': '10.0'
groups:
  availability:
  - name: lading-slo-SLO-MODEL-availability-ratios
    rules:
    - record: slo:sli_error:ratio_rate5m
      expr: (sum by (namespace, model) (rate(lading_requests_total{namespace=~".*",pod=~".*",model="SLO-MODEL",code=~"5..|429"}[5m])) or 0 * sum by (namespace,
        model) (rate(lading_requests_total{namespace=~".*",pod=~".*",model="SLO-MODEL",code=~"2..|5..|429"}[5m]))) / (sum by (namespace, model) (rate(lading_requests_total{namespace=~".*",pod=~".*",model="SLO-MODEL",code=~"2..|5..|429"}[5m]))
        > 0)
      labels:
        sloth_id: SLO-MODEL-availability
        sloth_service: SLO-MODEL
        sloth_slo: availability
        sloth_window: 5m
    - record: slo:sli_error:ratio_rate30m
      expr: (sum by (namespace, model) (rate(lading_requests_total{namespace=~".*",pod=~".*",model="SLO-MODEL",code=~"5..|429"}[30m])) or 0 * sum by (namespace,
        model) (rate(lading_requests_total{namespace=~".*",pod=~".*",model="SLO-MODEL",code=~"2..|5..|429"}[30m]))) / (sum by (namespace, model) (rate(lading_requests_total{namespace=~".*",pod=~".*",model="SLO-MODEL",code=~"2..|5..|429"}[30m]))
        > 0)
      labels:
        sloth_id: SLO-MODEL-availability
        sloth_service: SLO-MODEL
        sloth_slo: availability
        sloth_window: 30m
    - record: slo:sli_error:ratio_rate1h
      expr: (sum by (namespace, model) (rate(lading_requests_total{namespace=~".*",pod=~".*",model="SLO-MODEL",code=~"5..|429"}[1h])) or 0 * sum by (namespace,
        model) (rate(lading_requests_total{namespace=~".*",pod=~".*",model="SLO-MODEL",code=~"2..|5..|429"}[1h]))) / (sum by (namespace, model) (rate(lading_requests_total{namespace=~".*",pod=~".*",model="SLO-MODEL",code=~"2..|5..|429"}[1h]))
        > 0)
      labels:
        sloth_id: SLO-MODEL-availability
        sloth_service: SLO-MODEL
        sloth_slo: availability
        sloth_window: 1h
    - record: slo:sli_error:ratio_rate2h
      expr: (sum by (namespace, model) (rate(lading_requests_total{namespace=~".*",pod=~".*",model="SLO-MODEL",code=~"5..|429"}[2h])) or 0 * sum by (namespace,
        model) (rate(lading_requests_total{namespace=~".*",pod=~".*",model="SLO-MODEL",code=~"2..|5..|429"}[2h]))) / (sum by (namespace, model) (rate(lading_requests_total{namespace=~".*",pod=~".*",model="SLO-MODEL",code=~"2..|5..|429"}[2h]))
        > 0)
      labels:
        sloth_id: SLO-MODEL-availability
        sloth_service: SLO-MODEL
        sloth_slo: availability
        sloth_window: 2h
    - record: slo:sli_error:ratio_rate6h
      expr: (sum by (namespace, model) (rate(lading_requests_total{namespace=~".*",pod=~".*",model="SLO-MODEL",code=~"5..|429"}[6h])) or 0 * sum by (namespace,
        model) (rate(lading_requests_total{namespace=~".*",pod=~".*",model="SLO-MODEL",code=~"2..|5..|429"}[6h]))) / (sum by (namespace, model) (rate(lading_requests_total{namespace=~".*",pod=~".*",model="SLO-MODEL",code=~"2..|5..|429"}[6h]))
        > 0)
      labels:
        sloth_id: SLO-MODEL-availability
        sloth_service: SLO-MODEL
        sloth_slo: availability
        sloth_window: 6h
    - record: slo:sli_error:ratio_rate1d
      expr: (sum by (namespace, model) (rate(lading_requests_total{namespace=~".*",pod=~".*",model="SLO-MODEL",code=~"5..|429"}[1d])) or 0 * sum by (namespace,
        model) (rate(lading_requests_total{namespace=~".*",pod=~".*",model="SLO-MODEL",code=~"2..|5..|429"}[1d]))) / (sum by (namespace, model) (rate(lading_requests_total{namespace=~".*",pod=~".*",model="SLO-MODEL",code=~"2..|5..|429"}[1d]))
        > 0)
      labels:
        sloth_id: SLO-MODEL-availability
        sloth_service: SLO-MODEL
        sloth_slo: availability
        sloth_window: 1d
    - record: slo:sli_error:ratio_rate3d
      expr: (sum by (namespace, model) (rate(lading_requests_total{namespace=~".*",pod=~".*",model="SLO-MODEL",code=~"5..|429"}[3d])) or 0 * sum by (namespace,
        model) (rate(lading_requests_total{namespace=~".*",pod=~".*",model="SLO-MODEL",code=~"2..|5..|429"}[3d]))) / (sum by (namespace, model) (rate(lading_requests_total{namespace=~".*",pod=~".*",model="SLO-MODEL",code=~"2..|5..|429"}[3d]))
        > 0)
      labels:
        sloth_id: SLO-MODEL-availability
        sloth_service: SLO-MODEL
        sloth_slo: availability
        sloth_window: 3d
    - record: slo:sli_error:ratio_rateSLO-DAYSd
      expr: sum_over_time(slo:sli_error:ratio_rate5m{namespace=~".*",release=~".*",sloth_id="SLO-MODEL-availability"}[SLO-DAYSd]) / count_over_time(slo:sli_error:ratio_rate5m{namespace=~".*",release=~".*",sloth_id="SLO-MODEL-availability"}[SLO-DAYSd])
      labels:
        sloth_id: SLO-MODEL-availability
        sloth_service: SLO-MODEL
        sloth_slo: availability
        sloth_window: SLO-DAYSd
    - record: slo:objective:ratio
      expr: vector(SLO-OBJECTIVE)
      labels:
        sloth_id: SLO-MODEL-availability
        sloth_service: SLO-MODEL
        sloth_slo: availability
    - record: slo:error_budget:ratio
      expr: vector(SLO-BUDGET)
      labels:
        sloth_id: SLO-MODEL-availability
        sloth_service: SLO-MODEL
        sloth_slo: availability
    - record: slo:time_period:days
      expr: vector(SLO-DAYS)
      labels:
        sloth_id: SLO-MODEL-availability
        sloth_service: SLO-MODEL
        sloth_slo: availability
    - record: slo:current_burn_rate:ratio
      expr: slo:sli_error:ratio_rate5m{namespace=~".*",release=~".*",sloth_id="SLO-MODEL-availability"} / SLO-BUDGET
      labels:
        sloth_id: SLO-MODEL-availability
        sloth_service: SLO-MODEL
        sloth_slo: availability
    - record: slo:period_burn_rate:ratio
      expr: slo:sli_error:ratio_rateSLO-DAYSd{namespace=~".*",release=~".*",sloth_id="SLO-MODEL-availability"} / SLO-BUDGET
      labels:
        sloth_id: SLO-MODEL-availability
        sloth_service: SLO-MODEL
        sloth_slo: availability
    - record: slo:period_error_budget_remaining:ratio
      expr: 1 - slo:sli_error:ratio_rateSLO-DAYSd{namespace=~".*",release=~".*",sloth_id="SLO-MODEL-availability"} / SLO-BUDGET
      labels:
        sloth_id: SLO-MODEL-availability
        sloth_service: SLO-MODEL
        sloth_slo: availability
    - record: sloth_slo_info
      expr: vector(1)
      labels:
        sloth_id: SLO-MODEL-availability
        sloth_service: SLO-MODEL
        sloth_slo: availability
        sloth_mode: lading
        sloth_objective: SLO-PERCENT
  - name: lading-slo-SLO-MODEL-availability-alerts
    rules:
    - alert: LadingAvailabilityBudgetBurn
      expr: |-
        slo:sli_error:ratio_rate1h{namespace=~".*",release=~".*",sloth_id="SLO-MODEL-availability"} > (14.4 * SLO-BUDGET)
        and ignoring (sloth_window)
        slo:sli_error:ratio_rate5m{namespace=~".*",release=~".*",sloth_id="SLO-MODEL-availability"} > (14.4 * SLO-BUDGET)
        and on (namespace, model)
        sum by (namespace, model) (increase(lading_requests_total{namespace=~".*",pod=~".*",model="SLO-MODEL",code=~"2..|5..|429"}[1h])) >= SLO-REQUESTS
      for: 2m
      labels:
        severity: critical
        sloth_id: SLO-MODEL-availability
        sloth_service: SLO-MODEL
        sloth_slo: availability
        long_window: 1h
        short_window: 5m
      annotations:
        summary: '{{ $value | humanizePercentage }} of the requests to {{ $labels.model }} fail (over 1h; SLO-BUDGET-PERCENT % may): the error budget of
          SLO-DAYS days burns more than 14.4 times too fast.'
        runbook_url: https://github.com/lading/lading/blob/main/monitoring/runbooks/LadingAvailabilityBudgetBurn.md
    - alert: LadingAvailabilityBudgetBurn
      expr: |-
        slo:sli_error:ratio_rate6h{namespace=~".*",release=~".*",sloth_id="SLO-MODEL-availability"} > (6 * SLO-BUDGET)
        and ignoring (sloth_window)
        slo:sli_error:ratio_rate30m{namespace=~".*",release=~".*",sloth_id="SLO-MODEL-availability"} > (6 * SLO-BUDGET)
        and on (namespace, model)
        sum by (namespace, model) (increase(lading_requests_total{namespace=~".*",pod=~".*",model="SLO-MODEL",code=~"2..|5..|429"}[6h])) >= SLO-REQUESTS
      for: 15m
      labels:
        severity: critical
        sloth_id: SLO-MODEL-availability
        sloth_service: SLO-MODEL
        sloth_slo: availability
        long_window: 6h
        short_window: 30m
      annotations:
        summary: '{{ $value | humanizePercentage }} of the requests to {{ $labels.model }} fail (over 6h; SLO-BUDGET-PERCENT % may): the error budget of
          SLO-DAYS days burns more than 6 times too fast.'
        runbook_url: https://github.com/lading/lading/blob/main/monitoring/runbooks/LadingAvailabilityBudgetBurn.md
    - alert: LadingAvailabilityBudgetBurn
      expr: |-
        slo:sli_error:ratio_rate1d{namespace=~".*",release=~".*",sloth_id="SLO-MODEL-availability"} > (3 * SLO-BUDGET)
        and ignoring (sloth_window)
        slo:sli_error:ratio_rate2h{namespace=~".*",release=~".*",sloth_id="SLO-MODEL-availability"} > (3 * SLO-BUDGET)
        and on (namespace, model)
        sum by (namespace, model) (increase(lading_requests_total{namespace=~".*",pod=~".*",model="SLO-MODEL",code=~"2..|5..|429"}[1d])) >= SLO-REQUESTS
      for: 1h
      labels:
        severity: warning
        sloth_id: SLO-MODEL-availability
        sloth_service: SLO-MODEL
        sloth_slo: availability
        long_window: 1d
        short_window: 2h
      annotations:
        summary: '{{ $value | humanizePercentage }} of the requests to {{ $labels.model }} fail (over 1d; SLO-BUDGET-PERCENT % may): the error budget of
          SLO-DAYS days burns more than 3 times too fast.'
        runbook_url: https://github.com/lading/lading/blob/main/monitoring/runbooks/LadingAvailabilityBudgetBurn.md
    - alert: LadingAvailabilityBudgetBurn
      expr: |-
        slo:sli_error:ratio_rate3d{namespace=~".*",release=~".*",sloth_id="SLO-MODEL-availability"} > (1 * SLO-BUDGET)
        and ignoring (sloth_window)
        slo:sli_error:ratio_rate6h{namespace=~".*",release=~".*",sloth_id="SLO-MODEL-availability"} > (1 * SLO-BUDGET)
        and on (namespace, model)
        sum by (namespace, model) (increase(lading_requests_total{namespace=~".*",pod=~".*",model="SLO-MODEL",code=~"2..|5..|429"}[3d])) >= SLO-REQUESTS
      for: 3h
      labels:
        severity: warning
        sloth_id: SLO-MODEL-availability
        sloth_service: SLO-MODEL
        sloth_slo: availability
        long_window: 3d
        short_window: 6h
      annotations:
        summary: '{{ $value | humanizePercentage }} of the requests to {{ $labels.model }} fail (over 3d; SLO-BUDGET-PERCENT % may): the error budget of
          SLO-DAYS days burns more than 1 times too fast.'
        runbook_url: https://github.com/lading/lading/blob/main/monitoring/runbooks/LadingAvailabilityBudgetBurn.md
  latency:
  - name: lading-slo-SLO-MODEL-latency-ratios
    rules:
    - record: slo:sli_error:ratio_rate5m
      expr: clamp((sum by (namespace, model) (rate(lading_request_duration_seconds_count{namespace=~".*",pod=~".*",model="SLO-MODEL"}[5m])) - sum by (namespace,
        model) (rate(lading_request_duration_seconds_bucket{namespace=~".*",pod=~".*",model="SLO-MODEL",le="SLO-BUCKET"}[5m])) - (sum by (namespace, model)
        (rate(lading_requests_total{namespace=~".*",pod=~".*",model="SLO-MODEL",code="408"}[5m])) or 0 * sum by (namespace, model) (rate(lading_request_duration_seconds_count{namespace=~".*",pod=~".*",model="SLO-MODEL"}[5m]))))
        / ((sum by (namespace, model) (rate(lading_request_duration_seconds_count{namespace=~".*",pod=~".*",model="SLO-MODEL"}[5m])) - (sum by (namespace,
        model) (rate(lading_requests_total{namespace=~".*",pod=~".*",model="SLO-MODEL",code="429"}[5m])) or 0 * sum by (namespace, model) (rate(lading_request_duration_seconds_count{namespace=~".*",pod=~".*",model="SLO-MODEL"}[5m])))
        - (sum by (namespace, model) (rate(lading_requests_total{namespace=~".*",pod=~".*",model="SLO-MODEL",code="408"}[5m])) or 0 * sum by (namespace,
        model) (rate(lading_request_duration_seconds_count{namespace=~".*",pod=~".*",model="SLO-MODEL"}[5m])))) > 0), 0, 1)
      labels:
        sloth_id: SLO-MODEL-latency
        sloth_service: SLO-MODEL
        sloth_slo: latency
        sloth_window: 5m
    - record: slo:sli_error:ratio_rate30m
      expr: clamp((sum by (namespace, model) (rate(lading_request_duration_seconds_count{namespace=~".*",pod=~".*",model="SLO-MODEL"}[30m])) - sum by (namespace,
        model) (rate(lading_request_duration_seconds_bucket{namespace=~".*",pod=~".*",model="SLO-MODEL",le="SLO-BUCKET"}[30m])) - (sum by (namespace, model)
        (rate(lading_requests_total{namespace=~".*",pod=~".*",model="SLO-MODEL",code="408"}[30m])) or 0 * sum by (namespace, model) (rate(lading_request_duration_seconds_count{namespace=~".*",pod=~".*",model="SLO-MODEL"}[30m]))))
        / ((sum by (namespace, model) (rate(lading_request_duration_seconds_count{namespace=~".*",pod=~".*",model="SLO-MODEL"}[30m])) - (sum by (namespace,
        model) (rate(lading_requests_total{namespace=~".*",pod=~".*",model="SLO-MODEL",code="429"}[30m])) or 0 * sum by (namespace, model) (rate(lading_request_duration_seconds_count{namespace=~".*",pod=~".*",model="SLO-MODEL"}[30m])))
        - (sum by (namespace, model) (rate(lading_requests_total{namespace=~".*",pod=~".*",model="SLO-MODEL",code="408"}[30m])) or 0 * sum by (namespace,
        model) (rate(lading_request_duration_seconds_count{namespace=~".*",pod=~".*",model="SLO-MODEL"}[30m])))) > 0), 0, 1)
      labels:
        sloth_id: SLO-MODEL-latency
        sloth_service: SLO-MODEL
        sloth_slo: latency
        sloth_window: 30m
    - record: slo:sli_error:ratio_rate1h
      expr: clamp((sum by (namespace, model) (rate(lading_request_duration_seconds_count{namespace=~".*",pod=~".*",model="SLO-MODEL"}[1h])) - sum by (namespace,
        model) (rate(lading_request_duration_seconds_bucket{namespace=~".*",pod=~".*",model="SLO-MODEL",le="SLO-BUCKET"}[1h])) - (sum by (namespace, model)
        (rate(lading_requests_total{namespace=~".*",pod=~".*",model="SLO-MODEL",code="408"}[1h])) or 0 * sum by (namespace, model) (rate(lading_request_duration_seconds_count{namespace=~".*",pod=~".*",model="SLO-MODEL"}[1h]))))
        / ((sum by (namespace, model) (rate(lading_request_duration_seconds_count{namespace=~".*",pod=~".*",model="SLO-MODEL"}[1h])) - (sum by (namespace,
        model) (rate(lading_requests_total{namespace=~".*",pod=~".*",model="SLO-MODEL",code="429"}[1h])) or 0 * sum by (namespace, model) (rate(lading_request_duration_seconds_count{namespace=~".*",pod=~".*",model="SLO-MODEL"}[1h])))
        - (sum by (namespace, model) (rate(lading_requests_total{namespace=~".*",pod=~".*",model="SLO-MODEL",code="408"}[1h])) or 0 * sum by (namespace,
        model) (rate(lading_request_duration_seconds_count{namespace=~".*",pod=~".*",model="SLO-MODEL"}[1h])))) > 0), 0, 1)
      labels:
        sloth_id: SLO-MODEL-latency
        sloth_service: SLO-MODEL
        sloth_slo: latency
        sloth_window: 1h
    - record: slo:sli_error:ratio_rate2h
      expr: clamp((sum by (namespace, model) (rate(lading_request_duration_seconds_count{namespace=~".*",pod=~".*",model="SLO-MODEL"}[2h])) - sum by (namespace,
        model) (rate(lading_request_duration_seconds_bucket{namespace=~".*",pod=~".*",model="SLO-MODEL",le="SLO-BUCKET"}[2h])) - (sum by (namespace, model)
        (rate(lading_requests_total{namespace=~".*",pod=~".*",model="SLO-MODEL",code="408"}[2h])) or 0 * sum by (namespace, model) (rate(lading_request_duration_seconds_count{namespace=~".*",pod=~".*",model="SLO-MODEL"}[2h]))))
        / ((sum by (namespace, model) (rate(lading_request_duration_seconds_count{namespace=~".*",pod=~".*",model="SLO-MODEL"}[2h])) - (sum by (namespace,
        model) (rate(lading_requests_total{namespace=~".*",pod=~".*",model="SLO-MODEL",code="429"}[2h])) or 0 * sum by (namespace, model) (rate(lading_request_duration_seconds_count{namespace=~".*",pod=~".*",model="SLO-MODEL"}[2h])))
        - (sum by (namespace, model) (rate(lading_requests_total{namespace=~".*",pod=~".*",model="SLO-MODEL",code="408"}[2h])) or 0 * sum by (namespace,
        model) (rate(lading_request_duration_seconds_count{namespace=~".*",pod=~".*",model="SLO-MODEL"}[2h])))) > 0), 0, 1)
      labels:
        sloth_id: SLO-MODEL-latency
        sloth_service: SLO-MODEL
        sloth_slo: latency
        sloth_window: 2h
    - record: slo:sli_error:ratio_rate6h
      expr: clamp((sum by (namespace, model) (rate(lading_request_duration_seconds_count{namespace=~".*",pod=~".*",model="SLO-MODEL"}[6h])) - sum by (namespace,
        model) (rate(lading_request_duration_seconds_bucket{namespace=~".*",pod=~".*",model="SLO-MODEL",le="SLO-BUCKET"}[6h])) - (sum by (namespace, model)
        (rate(lading_requests_total{namespace=~".*",pod=~".*",model="SLO-MODEL",code="408"}[6h])) or 0 * sum by (namespace, model) (rate(lading_request_duration_seconds_count{namespace=~".*",pod=~".*",model="SLO-MODEL"}[6h]))))
        / ((sum by (namespace, model) (rate(lading_request_duration_seconds_count{namespace=~".*",pod=~".*",model="SLO-MODEL"}[6h])) - (sum by (namespace,
        model) (rate(lading_requests_total{namespace=~".*",pod=~".*",model="SLO-MODEL",code="429"}[6h])) or 0 * sum by (namespace, model) (rate(lading_request_duration_seconds_count{namespace=~".*",pod=~".*",model="SLO-MODEL"}[6h])))
        - (sum by (namespace, model) (rate(lading_requests_total{namespace=~".*",pod=~".*",model="SLO-MODEL",code="408"}[6h])) or 0 * sum by (namespace,
        model) (rate(lading_request_duration_seconds_count{namespace=~".*",pod=~".*",model="SLO-MODEL"}[6h])))) > 0), 0, 1)
      labels:
        sloth_id: SLO-MODEL-latency
        sloth_service: SLO-MODEL
        sloth_slo: latency
        sloth_window: 6h
    - record: slo:sli_error:ratio_rate1d
      expr: clamp((sum by (namespace, model) (rate(lading_request_duration_seconds_count{namespace=~".*",pod=~".*",model="SLO-MODEL"}[1d])) - sum by (namespace,
        model) (rate(lading_request_duration_seconds_bucket{namespace=~".*",pod=~".*",model="SLO-MODEL",le="SLO-BUCKET"}[1d])) - (sum by (namespace, model)
        (rate(lading_requests_total{namespace=~".*",pod=~".*",model="SLO-MODEL",code="408"}[1d])) or 0 * sum by (namespace, model) (rate(lading_request_duration_seconds_count{namespace=~".*",pod=~".*",model="SLO-MODEL"}[1d]))))
        / ((sum by (namespace, model) (rate(lading_request_duration_seconds_count{namespace=~".*",pod=~".*",model="SLO-MODEL"}[1d])) - (sum by (namespace,
        model) (rate(lading_requests_total{namespace=~".*",pod=~".*",model="SLO-MODEL",code="429"}[1d])) or 0 * sum by (namespace, model) (rate(lading_request_duration_seconds_count{namespace=~".*",pod=~".*",model="SLO-MODEL"}[1d])))
        - (sum by (namespace, model) (rate(lading_requests_total{namespace=~".*",pod=~".*",model="SLO-MODEL",code="408"}[1d])) or 0 * sum by (namespace,
        model) (rate(lading_request_duration_seconds_count{namespace=~".*",pod=~".*",model="SLO-MODEL"}[1d])))) > 0), 0, 1)
      labels:
        sloth_id: SLO-MODEL-latency
        sloth_service: SLO-MODEL
        sloth_slo: latency
        sloth_window: 1d
    - record: slo:sli_error:ratio_rate3d
      expr: clamp((sum by (namespace, model) (rate(lading_request_duration_seconds_count{namespace=~".*",pod=~".*",model="SLO-MODEL"}[3d])) - sum by (namespace,
        model) (rate(lading_request_duration_seconds_bucket{namespace=~".*",pod=~".*",model="SLO-MODEL",le="SLO-BUCKET"}[3d])) - (sum by (namespace, model)
        (rate(lading_requests_total{namespace=~".*",pod=~".*",model="SLO-MODEL",code="408"}[3d])) or 0 * sum by (namespace, model) (rate(lading_request_duration_seconds_count{namespace=~".*",pod=~".*",model="SLO-MODEL"}[3d]))))
        / ((sum by (namespace, model) (rate(lading_request_duration_seconds_count{namespace=~".*",pod=~".*",model="SLO-MODEL"}[3d])) - (sum by (namespace,
        model) (rate(lading_requests_total{namespace=~".*",pod=~".*",model="SLO-MODEL",code="429"}[3d])) or 0 * sum by (namespace, model) (rate(lading_request_duration_seconds_count{namespace=~".*",pod=~".*",model="SLO-MODEL"}[3d])))
        - (sum by (namespace, model) (rate(lading_requests_total{namespace=~".*",pod=~".*",model="SLO-MODEL",code="408"}[3d])) or 0 * sum by (namespace,
        model) (rate(lading_request_duration_seconds_count{namespace=~".*",pod=~".*",model="SLO-MODEL"}[3d])))) > 0), 0, 1)
      labels:
        sloth_id: SLO-MODEL-latency
        sloth_service: SLO-MODEL
        sloth_slo: latency
        sloth_window: 3d
    - record: slo:sli_error:ratio_rateSLO-DAYSd
      expr: sum_over_time(slo:sli_error:ratio_rate5m{namespace=~".*",release=~".*",sloth_id="SLO-MODEL-latency"}[SLO-DAYSd]) / count_over_time(slo:sli_error:ratio_rate5m{namespace=~".*",release=~".*",sloth_id="SLO-MODEL-latency"}[SLO-DAYSd])
      labels:
        sloth_id: SLO-MODEL-latency
        sloth_service: SLO-MODEL
        sloth_slo: latency
        sloth_window: SLO-DAYSd
    - record: slo:objective:ratio
      expr: vector(SLO-OBJECTIVE)
      labels:
        sloth_id: SLO-MODEL-latency
        sloth_service: SLO-MODEL
        sloth_slo: latency
    - record: slo:error_budget:ratio
      expr: vector(SLO-BUDGET)
      labels:
        sloth_id: SLO-MODEL-latency
        sloth_service: SLO-MODEL
        sloth_slo: latency
    - record: slo:time_period:days
      expr: vector(SLO-DAYS)
      labels:
        sloth_id: SLO-MODEL-latency
        sloth_service: SLO-MODEL
        sloth_slo: latency
    - record: slo:current_burn_rate:ratio
      expr: slo:sli_error:ratio_rate5m{namespace=~".*",release=~".*",sloth_id="SLO-MODEL-latency"} / SLO-BUDGET
      labels:
        sloth_id: SLO-MODEL-latency
        sloth_service: SLO-MODEL
        sloth_slo: latency
    - record: slo:period_burn_rate:ratio
      expr: slo:sli_error:ratio_rateSLO-DAYSd{namespace=~".*",release=~".*",sloth_id="SLO-MODEL-latency"} / SLO-BUDGET
      labels:
        sloth_id: SLO-MODEL-latency
        sloth_service: SLO-MODEL
        sloth_slo: latency
    - record: slo:period_error_budget_remaining:ratio
      expr: 1 - slo:sli_error:ratio_rateSLO-DAYSd{namespace=~".*",release=~".*",sloth_id="SLO-MODEL-latency"} / SLO-BUDGET
      labels:
        sloth_id: SLO-MODEL-latency
        sloth_service: SLO-MODEL
        sloth_slo: latency
    - record: sloth_slo_info
      expr: vector(1)
      labels:
        sloth_id: SLO-MODEL-latency
        sloth_service: SLO-MODEL
        sloth_slo: latency
        sloth_mode: lading
        sloth_objective: SLO-PERCENT
  - name: lading-slo-SLO-MODEL-latency-alerts
    rules:
    - alert: LadingLatencyBudgetBurn
      expr: |-
        slo:sli_error:ratio_rate1h{namespace=~".*",release=~".*",sloth_id="SLO-MODEL-latency"} > (14.4 * SLO-BUDGET)
        and ignoring (sloth_window)
        slo:sli_error:ratio_rate5m{namespace=~".*",release=~".*",sloth_id="SLO-MODEL-latency"} > (14.4 * SLO-BUDGET)
        and on (namespace, model)
        sum by (namespace, model) (increase(lading_request_duration_seconds_count{namespace=~".*",pod=~".*",model="SLO-MODEL"}[1h])) >= SLO-REQUESTS
      for: 2m
      labels:
        severity: critical
        sloth_id: SLO-MODEL-latency
        sloth_service: SLO-MODEL
        sloth_slo: latency
        long_window: 1h
        short_window: 5m
      annotations:
        summary: '{{ $value | humanizePercentage }} of the requests to {{ $labels.model }} take longer than SLO-THRESHOLD-MS ms (over 1h; SLO-BUDGET-PERCENT
          % may): the error budget of SLO-DAYS days burns more than 14.4 times too fast.'
        runbook_url: https://github.com/lading/lading/blob/main/monitoring/runbooks/LadingLatencyBudgetBurn.md
    - alert: LadingLatencyBudgetBurn
      expr: |-
        slo:sli_error:ratio_rate6h{namespace=~".*",release=~".*",sloth_id="SLO-MODEL-latency"} > (6 * SLO-BUDGET)
        and ignoring (sloth_window)
        slo:sli_error:ratio_rate30m{namespace=~".*",release=~".*",sloth_id="SLO-MODEL-latency"} > (6 * SLO-BUDGET)
        and on (namespace, model)
        sum by (namespace, model) (increase(lading_request_duration_seconds_count{namespace=~".*",pod=~".*",model="SLO-MODEL"}[6h])) >= SLO-REQUESTS
      for: 15m
      labels:
        severity: critical
        sloth_id: SLO-MODEL-latency
        sloth_service: SLO-MODEL
        sloth_slo: latency
        long_window: 6h
        short_window: 30m
      annotations:
        summary: '{{ $value | humanizePercentage }} of the requests to {{ $labels.model }} take longer than SLO-THRESHOLD-MS ms (over 6h; SLO-BUDGET-PERCENT
          % may): the error budget of SLO-DAYS days burns more than 6 times too fast.'
        runbook_url: https://github.com/lading/lading/blob/main/monitoring/runbooks/LadingLatencyBudgetBurn.md
    - alert: LadingLatencyBudgetBurn
      expr: |-
        slo:sli_error:ratio_rate1d{namespace=~".*",release=~".*",sloth_id="SLO-MODEL-latency"} > (3 * SLO-BUDGET)
        and ignoring (sloth_window)
        slo:sli_error:ratio_rate2h{namespace=~".*",release=~".*",sloth_id="SLO-MODEL-latency"} > (3 * SLO-BUDGET)
        and on (namespace, model)
        sum by (namespace, model) (increase(lading_request_duration_seconds_count{namespace=~".*",pod=~".*",model="SLO-MODEL"}[1d])) >= SLO-REQUESTS
      for: 1h
      labels:
        severity: warning
        sloth_id: SLO-MODEL-latency
        sloth_service: SLO-MODEL
        sloth_slo: latency
        long_window: 1d
        short_window: 2h
      annotations:
        summary: '{{ $value | humanizePercentage }} of the requests to {{ $labels.model }} take longer than SLO-THRESHOLD-MS ms (over 1d; SLO-BUDGET-PERCENT
          % may): the error budget of SLO-DAYS days burns more than 3 times too fast.'
        runbook_url: https://github.com/lading/lading/blob/main/monitoring/runbooks/LadingLatencyBudgetBurn.md
    - alert: LadingLatencyBudgetBurn
      expr: |-
        slo:sli_error:ratio_rate3d{namespace=~".*",release=~".*",sloth_id="SLO-MODEL-latency"} > (1 * SLO-BUDGET)
        and ignoring (sloth_window)
        slo:sli_error:ratio_rate6h{namespace=~".*",release=~".*",sloth_id="SLO-MODEL-latency"} > (1 * SLO-BUDGET)
        and on (namespace, model)
        sum by (namespace, model) (increase(lading_request_duration_seconds_count{namespace=~".*",pod=~".*",model="SLO-MODEL"}[3d])) >= SLO-REQUESTS
      for: 3h
      labels:
        severity: warning
        sloth_id: SLO-MODEL-latency
        sloth_service: SLO-MODEL
        sloth_slo: latency
        long_window: 3d
        short_window: 6h
      annotations:
        summary: '{{ $value | humanizePercentage }} of the requests to {{ $labels.model }} take longer than SLO-THRESHOLD-MS ms (over 3d; SLO-BUDGET-PERCENT
          % may): the error budget of SLO-DAYS days burns more than 1 times too fast.'
        runbook_url: https://github.com/lading/lading/blob/main/monitoring/runbooks/LadingLatencyBudgetBurn.md
