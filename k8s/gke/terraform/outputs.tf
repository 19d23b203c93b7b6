output "name_servers" {
  description = "Enter these at the domain's registrar."
  value       = google_dns_managed_zone.this.name_servers
}

output "registry" {
  description = "Where images are pushed to and pulled from."
  value       = "${var.region}-docker.pkg.dev/${var.project}/${google_artifact_registry_repository.images.name}"
}

output "artifacts" {
  description = "Where artifacts lie."
  value       = "gs://${google_storage_bucket.artifacts.name}"
}

output "training" {
  description = "The bucket and the account that `lading vertex` takes."
  value = {
    bucket          = "gs://${google_storage_bucket.training.name}"
    service_account = google_service_account.trainer.email
  }
}

output "url" {
  description = "The endpoint."
  value       = "https://api.${var.domain}"
}

output "github_variables" {
  description = "Variables of the repository that .github/workflows/deploy.yaml reads."
  value = {
    GCP_PROJECT   = var.project
    GCP_REGION    = var.region
    GCP_CLUSTER   = google_container_cluster.this.name
    GCP_REGISTRY  = google_artifact_registry_repository.images.name
    GCP_PROVIDER  = google_iam_workload_identity_pool_provider.github.name
    GCP_PUBLISHER = google_service_account.publisher.email
    GCP_DEPLOYER  = google_service_account.deployer.email
    DOMAIN        = var.domain
  }
}

output "notification_channel" {
  description = "Who gets alerts and the budget's warnings: --notification-channels of gcloud monitoring policies create."
  value       = google_monitoring_notification_channel.email.id
}
