// Files of one's own: chosen, dropped or pasted.

/** Hand every file that is brought to `take`. */
export function intake(input, take) {
  const own = (files) => files.length && take(files[0]);
  const marked = (on) => document.body.classList.toggle("dropping", on);
  input.addEventListener("change", () => own(input.files));
  document.addEventListener("paste", (event) => own(event.clipboardData.files));
  document.addEventListener("dragover", (event) => {
    event.preventDefault();
    marked(true);
  });
  document.addEventListener("dragleave", () => marked(false));
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    marked(false);
    own(event.dataTransfer.files);
  });
}
