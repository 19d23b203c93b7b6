# The same steps as the GitHub workflow, in Google's cloud: k8s/gke/cloudbuild.yaml.
resource "google_cloudbuild_trigger" "main" {
  count = var.cloud_build_trigger ? 1 : 0

  name            = var.name
  location        = var.region
  filename        = "k8s/gke/cloudbuild.yaml"
  service_account = google_service_account.deployer.id
  included_files  = ["src/**", "models/**", "helm/**", "docker/**", "requirements/**", "k8s/gke/**", "service.py"]

  github {
    owner = split("/", var.github_repository)[0]
    name  = split("/", var.github_repository)[1]

    push {
      branch = "^main$"
    }
  }

  substitutions = {
    _REGION     = var.region
    _REPOSITORY = var.name
    _CLUSTER    = google_container_cluster.this.name
    _NAMESPACE  = var.namespace
  }

  # A person approves each deployment.
  approval_config {
    approval_required = true
  }
}
