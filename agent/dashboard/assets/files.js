// Reads a text file into the field that its text can be pasted into. Without this module there is only the field.

/** Larger files are no text for a form of ours, bytes. */
const LARGEST = 60_000;

/** Shows the fields for files and fills the fields of text from them. */
export function takeFiles() {
  for (const place of document.querySelectorAll("[data-file-for]")) {
    const input = place.querySelector("input[type=file]");
    const field = document.getElementById(place.getAttribute("data-file-for") ?? "");
    if (!(input instanceof HTMLInputElement) || !(field instanceof HTMLTextAreaElement)) continue;
    place.removeAttribute("hidden");
    input.addEventListener("change", async () => {
      const file = input.files?.[0];
      if (!file) return;
      field.value = (await file.slice(0, LARGEST).text()).trimEnd();
      field.dispatchEvent(new Event("input", { bubbles: true }));
      field.focus();
    });
  }
}
