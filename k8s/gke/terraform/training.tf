# Training on Vertex AI: `lading vertex --image REGISTRY/trainer:1 --bucket gs://PROJECT-training/cards --service-account TRAINER`.
# Run folders and data. A checkpoint that became an artifact is not needed any more.
resource "google_storage_bucket" "training" {
  name                        = "${var.project}-training"
  location                    = var.region
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"

  lifecycle_rule {
    condition {
      age = 90
    }

    action {
      type = "Delete"
    }
  }

  depends_on = [google_project_service.used]
}

# The account of the jobs: it writes run folders, and reads the trainer's image.
resource "google_service_account" "trainer" {
  account_id   = "${var.name}-trainer"
  display_name = "Training jobs on Vertex AI"

  depends_on = [google_project_service.used]
}

resource "google_storage_bucket_iam_member" "write_training" {
  bucket = google_storage_bucket.training.name
  role   = "roles/storage.objectUser"
  member = google_service_account.trainer.member
}

resource "google_artifact_registry_repository_iam_member" "trainer" {
  project    = var.project
  location   = var.region
  repository = google_artifact_registry_repository.images.name
  role       = "roles/artifactregistry.reader"
  member     = google_service_account.trainer.member
}

resource "google_project_iam_member" "trainer_logs" {
  project = var.project
  role    = "roles/logging.logWriter"
  member  = google_service_account.trainer.member
}
