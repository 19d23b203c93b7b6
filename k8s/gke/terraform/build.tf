# The same steps as the GitHub workflow, in Google's cloud, by the same two accounts.
resource "google_cloudbuild_trigger" "main" {
  count = var.cloud_build_trigger ? 1 : 0

  name            = var.name
  location        = var.region
  filename        = "k8s/gke/cloudbuild.yaml"
  service_account = google_service_account.publisher.id
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
  }
}

# Run by hand with the digests of a build: docs/gke.md.
resource "google_cloudbuild_trigger" "deploy" {
  count = var.cloud_build_trigger ? 1 : 0

  name            = "${var.name}-deploy"
  location        = var.region
  service_account = google_service_account.deployer.id

  source_to_build {
    uri       = "https://github.com/${var.github_repository}"
    ref       = "refs/heads/main"
    repo_type = "GITHUB"
  }

  git_file_source {
    path      = "k8s/gke/cloudbuild-deploy.yaml"
    uri       = "https://github.com/${var.github_repository}"
    revision  = "refs/heads/main"
    repo_type = "GITHUB"
  }

  substitutions = {
    _REGION    = var.region
    _CLUSTER   = google_container_cluster.this.name
    _NAMESPACE = var.namespace
    _DOMAIN    = var.domain
  }

  # A person approves each deployment.
  approval_config {
    approval_required = true
  }
}
