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

  # Only the main branch of this repository.
  attribute_condition = "assertion.repository == '${var.github_repository}' && assertion.ref == 'refs/heads/main'"
  attribute_mapping = {
    "google.subject"       = "assertion.sub"
    "attribute.repository" = "assertion.repository"
  }

  oidc {
    issuer_uri = "https://token.actions.githubusercontent.com"
  }
}

# Two accounts, so that no job holds both. The publisher pushes images and artifacts, and reaches no cluster.
resource "google_service_account" "publisher" {
  account_id   = "${var.name}-publisher"
  display_name = "Pushes images and artifacts"

  depends_on = [google_project_service.used]
}

# The deployer upgrades releases, and can push nothing.
resource "google_service_account" "deployer" {
  account_id   = "${var.name}-deployer"
  display_name = "Upgrades releases in the namespace ${var.namespace}"

  depends_on = [google_project_service.used]
}

# GitHub's subject names the environment of a job that has one, and the branch otherwise. So a job without the environment
# cannot be the deployer, and a job in it cannot be the publisher.
resource "google_service_account_iam_member" "github_publishes" {
  service_account_id = google_service_account.publisher.name
  role               = "roles/iam.workloadIdentityUser"
  member             = "principal://iam.googleapis.com/${google_iam_workload_identity_pool.github.name}/subject/repo:${var.github_repository}:ref:refs/heads/main"
}

resource "google_service_account_iam_member" "github_deploys" {
  service_account_id = google_service_account.deployer.name
  role               = "roles/iam.workloadIdentityUser"
  member             = "principal://iam.googleapis.com/${google_iam_workload_identity_pool.github.name}/subject/repo:${var.github_repository}:environment:production"
}

# It may reach the cluster's API server. What it may do there is the Role in k8s/gke/deployer.yaml.
resource "google_project_iam_custom_role" "reach_cluster" {
  role_id     = "ladingReachCluster"
  title       = "Reach the API server of a cluster"
  permissions = ["container.clusters.get", "container.clusters.connect"]

  depends_on = [google_project_service.used]
}

resource "google_project_iam_member" "deployer_reaches_cluster" {
  project = var.project
  role    = google_project_iam_custom_role.reach_cluster.name
  member  = google_service_account.deployer.member
}

# Cloud Build writes its log as the account that it runs as.
resource "google_project_iam_member" "logs" {
  for_each = {
    publisher = google_service_account.publisher.member
    deployer  = google_service_account.deployer.member
  }

  project = var.project
  role    = "roles/logging.logWriter"
  member  = each.value
}

resource "google_artifact_registry_repository_iam_member" "publisher" {
  project    = var.project
  location   = var.region
  repository = google_artifact_registry_repository.images.name
  role       = "roles/artifactregistry.writer"
  member     = google_service_account.publisher.member
}

# It reads signatures and provenance, to verify them.
resource "google_artifact_registry_repository_iam_member" "deployer" {
  project    = var.project
  location   = var.region
  repository = google_artifact_registry_repository.images.name
  role       = "roles/artifactregistry.reader"
  member     = google_service_account.deployer.member
}

resource "google_project_iam_member" "deployer_reads_provenance" {
  project = var.project
  role    = "roles/containeranalysis.occurrences.viewer"
  member  = google_service_account.deployer.member
}

resource "google_storage_bucket_iam_member" "publish_artifacts" {
  bucket = google_storage_bucket.artifacts.name
  role   = "roles/storage.objectCreator"
  member = google_service_account.publisher.member
}

# `--no-clobber` looks first at what is there.
resource "google_storage_bucket_iam_member" "read_published" {
  for_each = {
    publisher = google_service_account.publisher.member
    deployer  = google_service_account.deployer.member
  }

  bucket = google_storage_bucket.artifacts.name
  role   = "roles/storage.objectViewer"
  member = each.value
}
