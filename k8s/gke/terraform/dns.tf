resource "google_dns_managed_zone" "this" {
  name        = var.name
  dns_name    = "${var.domain}."
  description = "Endpoints of ${var.name}"

  dnssec_config {
    state = "on"
  }

  depends_on = [google_project_service.used]
}

resource "google_compute_global_address" "this" {
  name = var.name

  depends_on = [google_project_service.used]
}

locals {
  hosts = toset(["api.${var.domain}", "grpc.${var.domain}"])
}

resource "google_dns_record_set" "hosts" {
  for_each = local.hosts

  managed_zone = google_dns_managed_zone.this.name
  name         = "${each.value}."
  type         = "A"
  ttl          = 300
  rrdatas      = [google_compute_global_address.this.address]
}

# A record in the zone proves the certificate, so it is ready before the load balancer.
resource "google_certificate_manager_dns_authorization" "hosts" {
  for_each = local.hosts

  name   = replace(each.value, ".", "-")
  domain = each.value

  depends_on = [google_project_service.used]
}

resource "google_dns_record_set" "authorizations" {
  for_each = local.hosts

  managed_zone = google_dns_managed_zone.this.name
  name         = google_certificate_manager_dns_authorization.hosts[each.value].dns_resource_record[0].name
  type         = google_certificate_manager_dns_authorization.hosts[each.value].dns_resource_record[0].type
  ttl          = 300
  rrdatas      = [google_certificate_manager_dns_authorization.hosts[each.value].dns_resource_record[0].data]
}

resource "google_certificate_manager_certificate" "this" {
  name = var.name

  managed {
    domains            = local.hosts
    dns_authorizations = [for one in google_certificate_manager_dns_authorization.hosts : one.id]
  }
}

resource "google_certificate_manager_certificate_map" "this" {
  name = var.name
}

resource "google_certificate_manager_certificate_map_entry" "hosts" {
  for_each = local.hosts

  name         = replace(each.value, ".", "-")
  map          = google_certificate_manager_certificate_map.this.name
  certificates = [google_certificate_manager_certificate.this.id]
  hostname     = each.value
}
