# What the load balancer refuses before a pod sees it: an address that sends too much. The chart's gke.securityPolicy names
# it, and its GCPBackendPolicy attaches it to the release's backend.
resource "google_compute_security_policy" "this" {
  name        = var.name
  description = "Limits requests per address"

  rule {
    description = "At most ${var.requests_per_minute} requests per address in a minute; more get 429"
    action      = "throttle"
    priority    = 1000

    match {
      versioned_expr = "SRC_IPS_V1"

      config {
        src_ip_ranges = ["*"]
      }
    }

    rate_limit_options {
      conform_action = "allow"
      exceed_action  = "deny(429)"
      enforce_on_key = "IP"

      rate_limit_threshold {
        count        = var.requests_per_minute
        interval_sec = 60
      }
    }
  }

  # Every policy needs its last rule.
  rule {
    description = "Others are allowed"
    action      = "allow"
    priority    = 2147483647

    match {
      versioned_expr = "SRC_IPS_V1"

      config {
        src_ip_ranges = ["*"]
      }
    }
  }

  depends_on = [google_project_service.used]
}
