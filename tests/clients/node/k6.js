// A k6 script. URL and PHOTO are environment variables.
import { check } from "k6";
import http from "k6/http";

const photo = open(__ENV.PHOTO, "b");

export default function () {
  const raw = http.post(__ENV.URL, photo, { headers: { "content-type": "image/jpeg" } });
  const form = http.post(__ENV.URL, { note: "a text field", image: http.file(photo, "photo.jpg", "image/jpeg") });
  check(raw, { "picture is red": (answer) => answer.status === 200 && answer.json("colour") === "red" });
  check(form, { "form is red": (answer) => answer.status === 200 && answer.json("colour") === "red" });
}
