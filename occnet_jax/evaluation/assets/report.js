// Gives every viewer the same camera, and moves the cameras of one shape together.

const VIEW = {
  "camera-controls": "",
  "disable-pan": "",
  "disable-tap": "",
  "disable-zoom": "",
  "interaction-prompt": "none",
  "touch-action": "pan-y",
  "camera-target": "0m 0m 0m",
  "camera-orbit": "215deg 68deg 2.35m",
  "min-camera-orbit": "auto 0deg 0.8m",
  "max-camera-orbit": "auto 180deg 5m",
  "field-of-view": "30deg",
  "min-field-of-view": "30deg",
  "max-field-of-view": "30deg",
  "shadow-intensity": "0",
  "environment-image": "legacy", // lit from one side; the default is flat
  "exposure": "1.15",
  "tone-mapping": "neutral",
};

function link(shape) {
  const viewers = [...shape.querySelectorAll("model-viewer")];
  let leader = null;

  function lead(event) {
    leader = event.currentTarget;
  }

  function follow(event) {
    if (event.target !== leader) return;
    const orbit = leader.getCameraOrbit().toString();
    for (const viewer of viewers) {
      if (viewer === leader) continue;
      viewer.cameraOrbit = orbit;
      viewer.jumpCameraToGoal();
    }
  }

  // The wheel scrolls the page until a picture of this shape is taken hold of.
  function allowZoom(allowed) {
    for (const viewer of viewers) viewer.disableZoom = !allowed;
    shape.classList.toggle("held", allowed);
  }

  for (const viewer of viewers) {
    for (const [name, value] of Object.entries(VIEW)) viewer.setAttribute(name, value);
    for (const kind of ["pointerdown", "wheel", "keydown"]) {
      viewer.addEventListener(kind, lead, { capture: true, passive: true });
    }
    viewer.addEventListener("pointerdown", () => allowZoom(true));
    viewer.addEventListener("camera-change", follow);
    viewer.addEventListener("load", () => viewer.classList.add("loaded"));
    viewer.addEventListener("error", () => viewer.classList.add("failed"));
  }
  shape.addEventListener("pointerleave", () => allowZoom(false));
  shape.querySelector(".reset").addEventListener("click", () => {
    leader = null;
    for (const viewer of viewers) {
      viewer.cameraOrbit = VIEW["camera-orbit"];
      viewer.jumpCameraToGoal();
    }
  });
}

document.querySelectorAll(".shape").forEach(link);
