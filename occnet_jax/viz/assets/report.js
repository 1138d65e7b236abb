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
  "field-of-view": "30deg",
  // The first view is the farthest: model-viewer zooms by distance and angle at once,
  // and jumps unless both have room and reach their bounds together.
  "min-camera-orbit": "auto 0deg 1m",
  "max-camera-orbit": "auto 180deg 2.35m",
  "min-field-of-view": "12deg",
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

  function turn(followers, orbit, angle) {
    for (const viewer of followers) {
      viewer.cameraOrbit = orbit;
      viewer.fieldOfView = angle;
      viewer.jumpCameraToGoal();
    }
  }

  function follow(event) {
    if (event.target !== leader) return;
    const followers = viewers.filter((viewer) => viewer !== leader);
    const angle = `${leader.getFieldOfView()}deg`;
    turn(followers, leader.getCameraOrbit().toString(), angle);
  }

  // The wheel scrolls the page until a picture of this shape is clicked.
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
  }
  shape.addEventListener("pointerleave", () => allowZoom(false));
  shape.querySelector(".reset").addEventListener("click", () => {
    leader = null;
    turn(viewers, VIEW["camera-orbit"], VIEW["field-of-view"]);
  });
}

// Printers cannot show WebGL: keeps an image of each viewer, taken soon after it loads.
function keepForPrint(viewer) {
  const image = new Image();
  image.alt = viewer.getAttribute("alt");
  image.className = "printed";
  viewer.after(image);
  viewer.addEventListener("load", () => {
    setTimeout(() => { image.src = viewer.toDataURL(); }, 500);
  });
}

document.querySelectorAll(".shape").forEach(link);
document.querySelectorAll("model-viewer").forEach(keepForPrint);
