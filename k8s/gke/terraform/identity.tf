# Workload Identity: a pod's Kubernetes ServiceAccount is the principal itself. No Google account, no key, no annotation.
locals {
  pool = "principal://iam.googleapis.com/projects/${data.google_project.this.number}/locations/global/workloadIdentityPools/${var.project}.svc.id.goog"
}

resource "google_storage_bucket_iam_member" "read_artifacts" {
  for_each = var.releases

  bucket = google_storage_bucket.artifacts.name
  role   = "roles/storage.objectViewer"
  member = "${local.pool}/subject/ns/${var.namespace}/sa/${each.value}"

  # The first cluster that uses the pool creates it.
  depends_on = [google_container_cluster.this]
}

resource "google_storage_bucket_iam_member" "write_payloads" {
  for_each = var.releases

  bucket = google_storage_bucket.payloads.name
  role   = "roles/storage.objectCreator"
  member = "${local.pool}/subject/ns/${var.namespace}/sa/${each.value}"

  depends_on = [google_container_cluster.this]
}

# Reads Managed Service for Prometheus for KEDA and the canary, through k8s/gke/prometheus.yaml.
resource "google_project_iam_member" "read_metrics" {
  project = var.project
  role    = "roles/monitoring.viewer"
  member  = "${local.pool}/subject/ns/monitoring/sa/prometheus"

  depends_on = [google_container_cluster.this]
}

# GitHub's workflows prove who they are with a token of a few minutes. No key is stored there.
resource "google_iam_workload_identity_pool" "github" {
  workload_identity_pool_id = "github"
  display_name              = "GitHub"

  depends_on = [google_project_service.used]
}

resource "google_iam_workload_identity_pool_provider" "github" {
  workload_identity_pool_id          = google_iam_workload_identity_pool.github.workload_identity_pool_id
  workload_identity_pool_provider_id = "github"

  # Only the main branch of this repository, in an environment where GitHub can require an approval.
  attribute_condition = "assertion.repository == '${var.github_repository}' && assertion.ref == 'refs/heads/main'"
  attribute_mapping = {
    "google.subject"       = "assertion.sub"
    "attribute.repository" = "assertion.repository"
  }

  oidc {
    issuer_uri = "https://token.actions.githubusercontent.com"
  }
}

resource "google_service_account" "deployer" {
  account_id   = "${var.name}-deployer"
  display_name = "Pushes images and upgrades releases"

  depends_on = [google_project_service.used]
}

resource "google_service_account_iam_member" "github" {
  service_account_id = google_service_account.deployer.name
  role               = "roles/iam.workloadIdentityUser"
  member             = "principalSet://iam.googleapis.com/${google_iam_workload_identity_pool.github.name}/attribute.repository/${var.github_repository}"
}

resource "google_project_iam_member" "deployer" {
  for_each = toset([
    "roles/container.developer",
    "roles/logging.logWriter",
  ])

  project = var.project
  role    = each.value
  member  = google_service_account.deployer.member
}

resource "google_artifact_registry_repository_iam_member" "deployer" {
  project    = var.project
  location   = var.region
  repository = google_artifact_registry_repository.images.name
  role       = "roles/artifactregistry.writer"
  member     = google_service_account.deployer.member
}

resource "google_storage_bucket_iam_member" "write_artifacts" {
  bucket = google_storage_bucket.artifacts.name
  role   = "roles/storage.objectUser"
  member = google_service_account.deployer.member
}
