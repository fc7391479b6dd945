// The 3-D panes: one camera for all; meshes as clay or coloured by error, points, cells, a probe; drawn on demand.
'use strict';

const YAW = Math.PI / 6; // of the first view: faces of heads look along +z
const PITCH = 0.16;
const DISTANCE = 5.75; // the cube's corners fit
const CREASE = Math.cos((50 * Math.PI) / 180); // smooth across flatter edges only
const POINT = [0.12, 0.19, 0.3]; // linear; clay would be lost on white
const FAN = 64; // faces about one vertex above which all are averaged: the time would grow with their square

const camera = new THREE.PerspectiveCamera(30, 1, 0.05, 60);
const target = new THREE.Vector3();
const views = [];
const onCamera = []; // called after each drawing, with the camera in words

function resetCamera() {
  target.set(0, 0, 0);
  camera.position.setFromSpherical(new THREE.Spherical(DISTANCE, Math.PI / 2 - PITCH, YAW));
  camera.lookAt(target);
  requestDraw();
}

const cameraWords = () => [...camera.position.toArray(), ...target.toArray()].map((x) => x.toFixed(3)).join(' ');

let pending = false;
function requestDraw() {
  if (pending) return;
  pending = true;
  requestAnimationFrame(() => {
    pending = false;
    for (const view of views) view.draw();
    for (const tell of onCamera) tell(cameraWords());
  });
}

const linear = (rgb) => new THREE.Color().setRGB(...rgb);

/** Matte, seen from both sides, the inside tinted; colours are linear. */
function clay(options) {
  const material = new THREE.MeshLambertMaterial({ side: THREE.DoubleSide, ...options });
  const tint = `if (!gl_FrontFacing) diffuseColor.rgb *= vec3(${INSIDE.map((x) => x.toFixed(2)).join(', ')});`;
  return withFragment(material, tint);
}

/** The material with a line more where its fragments get their colour. */
function withFragment(material, line) {
  material.onBeforeCompile = (shader) => {
    const chunk = '#include <color_fragment>';
    shader.fragmentShader = shader.fragmentShader.replace(chunk, `${chunk}\n${line}`);
  };
  material.customProgramCacheKey = () => line;
  return material;
}

const rounded = (options) =>
  withFragment(new THREE.PointsMaterial(options), 'if (length(gl_PointCoord - 0.5) > 0.5) discard;');

const offset = { polygonOffset: true, polygonOffsetFactor: 1, polygonOffsetUnits: 1 }; // edges lie before their faces
const MATERIALS = {
  plain: clay({ color: linear(CLAY), ...offset }),
  coloured: clay({ vertexColors: true, ...offset }),
  cells: clay({ color: linear(CLAY) }),
  ghost: new THREE.MeshLambertMaterial({
    color: linear([0.1, 0.34, 0.62]), transparent: true, opacity: 0.3, depthWrite: false,
  }),
  points: rounded({ size: 0.07, color: linear(POINT) }),
  probe: rounded({ size: 9, sizeAttenuation: false, color: 0x1668e0, depthTest: false, transparent: true }),
};

/** One canvas: its lights turn with the camera, and what it shows stands in named slots. */
class View {
  constructor(canvas) {
    this.canvas = canvas;
    this.renderer = new THREE.WebGLRenderer({ canvas, antialias: true, alpha: true, preserveDrawingBuffer: true });
    this.scene = new THREE.Scene();
    this.slots = {};
    this.edges = new THREE.MeshBasicMaterial({ color: 0x14181c, wireframe: true, transparent: true });
    this.lights = new THREE.Group();
    const light = (strength, ...place) => {
      const one = new THREE.DirectionalLight(0xffffff, strength);
      one.position.set(...place);
      this.lights.add(one);
    };
    light(2.25, -0.48, 0.62, 0.62);
    light(0.75, 0.78, 0.05, 0.62);
    const sky = new THREE.HemisphereLight(0xffffff, 0xb0a89e, 0.7);
    this.scene.add(this.lights, sky);
    const controls = new THREE.OrbitControls(camera, canvas);
    Object.assign(controls, { target, minDistance: 0.4, maxDistance: 30 });
    controls.addEventListener('change', requestDraw);
    this.controls = controls;
    new ResizeObserver(() => this.fit()).observe(canvas);
    views.push(this);
  }

  fit() {
    const { clientWidth: width, clientHeight: height } = this.canvas;
    if (!width || !height) return;
    this.renderer.setPixelRatio(Math.min(devicePixelRatio, 2));
    this.renderer.setSize(width, height, false);
    this.draw();
  }

  draw() {
    const { clientWidth: width, clientHeight: height } = this.canvas;
    if (!width || !height) return;
    camera.aspect = width / height;
    camera.updateProjectionMatrix();
    camera.updateMatrixWorld();
    this.lights.quaternion.copy(camera.quaternion);
    this.renderer.render(this.scene, camera);
  }

  /** Puts an object (or null) into a slot, and frees what stood there. */
  set(slot, object) {
    const old = this.slots[slot];
    if (old) {
      this.scene.remove(old);
      old.geometry.dispose();
      if (old.isInstancedMesh) old.dispose();
    }
    this.slots[slot] = object;
    if (object) this.scene.add(object);
    requestDraw();
  }

  /** A mesh message (or null) as the surface of this pane, with its edges; errors are coloured up to the limit. */
  setSurface(message, limit) {
    const geometry = message && message.arrays.faces.data.length ? surfaceGeometry(message, limit) : null;
    if (geometry) this.edges.opacity = Math.min(0.4, 36 / Math.sqrt(message.faces)); // many would else hide the surface
    this.set('edges', geometry && new THREE.Mesh(geometry, this.edges));
    this.set('surface', geometry && new THREE.Mesh(geometry, MATERIALS.plain));
  }

  setPoints(message) {
    this.set('edges', null);
    this.set('surface', pointCloud(message));
  }

  setGhost(message) {
    const some = message && message.arrays.faces.data.length;
    this.set('ghost', some ? new THREE.Mesh(surfaceGeometry(message), MATERIALS.ghost) : null);
  }

  dress({ coloured, edges }) {
    const { surface, edges: lines } = this.slots;
    if (!lines) return; // no surface, or points
    surface.material = coloured && surface.geometry.hasAttribute('color') ? MATERIALS.coloured : MATERIALS.plain;
    lines.visible = edges;
    requestDraw();
  }
}

/** Moves the shared camera by keys: angles in radians, and a factor of the distance. */
function moveCamera(left, up, nearer) {
  const [{ controls }] = views;
  if (left) controls.rotateLeft(left);
  if (up) controls.rotateUp(up);
  if (nearer) controls.dollyIn(nearer);
  requestDraw();
}

function probe(point) {
  for (const view of views) {
    const geometry = point && new THREE.BufferGeometry().setFromPoints([new THREE.Vector3(...point)]);
    view.set('probe', geometry && new THREE.Points(geometry, MATERIALS.probe));
    if (geometry) view.slots.probe.renderOrder = 1;
  }
}

/** Corners of its own for every face, so that normals may differ across a crease; colours where errors are known. */
function surfaceGeometry({ arrays: { vertices, faces, error } }, limit) {
  const geometry = new THREE.BufferGeometry();
  geometry.setAttribute('position', new THREE.BufferAttribute(gather(vertices.data, faces.data), 3));
  geometry.setAttribute('normal', new THREE.BufferAttribute(creasedNormals(vertices.data, faces.data), 3));
  if (error && limit) {
    const colours = new Float32Array(error.data.length * 3);
    error.data.forEach((distance, i) => copyEntry(colours, 3 * i, linearErrors, distance / limit));
    geometry.setAttribute('color', new THREE.BufferAttribute(gather(colours, faces.data), 3));
  }
  return geometry;
}

function gather(values, corners) {
  const gathered = new Float32Array(corners.length * 3);
  for (let i = 0; i < corners.length; i++) {
    for (let k = 0; k < 3; k++) gathered[3 * i + k] = values[3 * corners[i] + k];
  }
  return gathered;
}

/** Normals of the corners: of the faces about the vertex that lie flat enough to the corner's own, weighted by area. */
function creasedNormals(vertices, faces) {
  const [area, unit] = faceNormals(vertices, faces);
  const [start, around] = facesAround(faces, vertices.length / 3);
  const normals = new Float32Array(faces.length * 3);
  for (let corner = 0; corner < faces.length; corner++) {
    const own = 3 * Math.floor(corner / 3);
    const [first, last] = [start[faces[corner]], start[faces[corner] + 1]];
    const limit = last - first > FAN ? -2 : CREASE;
    let [x, y, z] = [0, 0, 0];
    for (let i = first; i < last; i++) {
      const other = 3 * around[i];
      const cosine = unit[own] * unit[other] + unit[own + 1] * unit[other + 1] + unit[own + 2] * unit[other + 2];
      if (cosine < limit) continue;
      x += area[other];
      y += area[other + 1];
      z += area[other + 2];
    }
    const length = Math.hypot(x, y, z) || 1;
    normals[3 * corner] = x / length;
    normals[3 * corner + 1] = y / length;
    normals[3 * corner + 2] = z / length;
  }
  return normals;
}

/** Normals of the faces, as long as twice their area, and as unit vectors. */
function faceNormals(vertices, faces) {
  const [area, unit] = [new Float32Array(faces.length), new Float32Array(faces.length)];
  const [a, b, c] = [new THREE.Vector3(), new THREE.Vector3(), new THREE.Vector3()];
  for (let i = 0; i < faces.length; i += 3) {
    a.fromArray(vertices, 3 * faces[i]);
    b.fromArray(vertices, 3 * faces[i + 1]).sub(a);
    c.fromArray(vertices, 3 * faces[i + 2]).sub(a);
    b.cross(c).toArray(area, i);
    b.normalize().toArray(unit, i);
  }
  return [area, unit];
}

/** The faces about each vertex: those of vertex v are around[start[v]] to around[start[v + 1] - 1]. */
function facesAround(faces, vertices) {
  const start = new Uint32Array(vertices + 1);
  for (const vertex of faces) start[vertex + 1]++;
  for (let i = 0; i < vertices; i++) start[i + 1] += start[i];
  const next = start.slice();
  const around = new Uint32Array(faces.length);
  faces.forEach((vertex, corner) => { around[next[vertex]++] = Math.floor(corner / 3); });
  return [start, around];
}

function pointCloud({ arrays: { points } }) {
  const geometry = new THREE.BufferGeometry();
  geometry.setAttribute('position', new THREE.BufferAttribute(Float32Array.from(points.data), 3));
  return new THREE.Points(geometry, MATERIALS.points);
}

/** Boxes at their places in the cube's grid. */
function cellBoxes({ side, arrays: { cells } }) {
  const count = cells.data.length / 3;
  const size = 2 / side;
  const box = new THREE.BoxGeometry(0.9 * size, 0.9 * size, 0.9 * size);
  const boxes = new THREE.InstancedMesh(box, MATERIALS.cells, count);
  const matrix = new THREE.Matrix4();
  for (let i = 0; i < count; i++) {
    matrix.setPosition(...[0, 1, 2].map((k) => (cells.data[3 * i + k] + 0.5) * size - 1));
    boxes.setMatrixAt(i, matrix);
  }
  return boxes;
}
