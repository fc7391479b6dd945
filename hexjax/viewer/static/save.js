// Saves the shown mesh as a file, in the source's own units where they are known.
'use strict';

/** A mesh of three.js without normals or colours; OBJ and PLY keep doubles, which shapes far from their origin need. */
function exportable({ arrays: { vertices, faces } }, toSource, Numbers) {
  const geometry = new THREE.BufferGeometry();
  geometry.setAttribute('position', new THREE.BufferAttribute(Numbers.from(vertices.data), 3));
  geometry.setIndex(new THREE.BufferAttribute(Uint32Array.from(faces.data), 1));
  const material = new THREE.MeshStandardMaterial({ color: linear(CLAY), roughness: 1, metalness: 0 });
  const mesh = new THREE.Mesh(geometry, material);
  mesh.name = 'hexjax';
  if (toSource) {
    mesh.matrixAutoUpdate = false;
    mesh.matrix.set(...toSource);
    mesh.updateMatrixWorld(true);
  }
  return mesh;
}

const WRITERS = {
  GLB: (message, toSource) =>
    new THREE.GLTFExporter().parseAsync(exportable(message, toSource, Float32Array), { binary: true }),
  OBJ: (message, toSource) => new THREE.OBJExporter().parse(exportable(message, toSource, Float64Array)),
  PLY: (message, toSource) => new Promise((resolve) => {
    const options = { binary: true, littleEndian: true };
    new THREE.PLYExporter().parse(exportable(message, toSource, Float64Array), resolve, options);
  }),
  PNG: (message, toSource, canvas) => new Promise((resolve) => canvas.toBlob(resolve)),
};

/** Hands the browser a file of the format (a key of WRITERS). */
async function saveAs(format, name, message, toSource, canvas) {
  const address = URL.createObjectURL(new Blob([await WRITERS[format](message, toSource, canvas)]));
  make('a', { href: address, download: `${name}.${format.toLowerCase()}` }).click();
  setTimeout(() => URL.revokeObjectURL(address), 60_000); // after the browser has begun to read it
}
