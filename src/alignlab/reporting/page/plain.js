// Draws the figures of a plain page in the system's theme, and again when that changes.
const { figures, template, dark } = JSON.parse(document.getElementById("data").textContent);
const system = matchMedia("(prefers-color-scheme: dark)");
function draw() {
  const themed = (value) => {
    let text = JSON.stringify(value);
    if (system.matches) for (const [light, other] of dark) text = text.replaceAll(light, other);
    return JSON.parse(text);
  };
  for (const at of document.querySelectorAll("[data-figure]")) {
    const { data, layout } = themed(figures[at.dataset.figure]);
    Plotly.react(at, data, { ...layout, template: themed(template) }, { displayModeBar: false, responsive: true });
  }
}
system.addEventListener("change", draw);
draw();
document.documentElement.dataset.drawn = "all";
