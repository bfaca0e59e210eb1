// Draws the figures of a plain page in the system's theme, and again when that changes; those of a closed section when
// it is opened, as nothing has a width before. A link to a section opens it.
const { figures, template, dark } = JSON.parse(document.getElementById("data").textContent);
const system = matchMedia("(prefers-color-scheme: dark)");
function draw() {
  const themed = (value) => {
    let text = JSON.stringify(value);
    if (system.matches) for (const [light, other] of dark) text = text.replaceAll(light, other);
    return JSON.parse(text);
  };
  for (const at of document.querySelectorAll("[data-figure]")) {
    if (at.closest("details:not([open])")) continue;
    const { data, layout } = themed(figures[at.dataset.figure]);
    Plotly.react(at, data, { ...layout, template: themed(template) }, { displayModeBar: false, responsive: true });
  }
}
function openNamed() {
  const closed = document.getElementById(location.hash.slice(1))?.querySelector("details.closed");
  if (closed) closed.open = true;
}
for (const closed of document.querySelectorAll("details.closed")) closed.addEventListener("toggle", draw);
addEventListener("hashchange", openNamed);
system.addEventListener("change", draw);
openNamed();
draw();
document.documentElement.dataset.drawn = "all";
