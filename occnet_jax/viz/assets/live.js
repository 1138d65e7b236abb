// Loads the page again, which a training rewrites, unless the reader pauses it.

const button = document.getElementById("pause");
let timer = null;

function schedule() {
  timer = setTimeout(() => location.reload(), 1000 * Number(button.dataset.seconds));
}

button.addEventListener("click", () => {
  if (timer === null) {
    location.reload();
    return;
  }
  clearTimeout(timer);
  timer = null;
  button.textContent = "Load again";
});
schedule();
