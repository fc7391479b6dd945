// What the viewer takes from three.js 0.187.0. Made into three.js beside this file by, in a folder with both packages,
//   npm install three@0.187.0 esbuild@0.28.2
//   npx esbuild three.entry.js --bundle --minify --format=iife --global-name=THREE --legal-comments=none \
//     --banner:js='/* three.js 0.187.0, MIT, see three.LICENSE.txt */' --outfile=three.js
export {
  BoxGeometry, BufferAttribute, BufferGeometry, Color, DirectionalLight, DoubleSide, Group, HemisphereLight, InstancedMesh,
  Matrix4, Mesh, MeshBasicMaterial, MeshLambertMaterial, MeshStandardMaterial, PerspectiveCamera, Points,
  PointsMaterial, Scene, Spherical, Vector3, WebGLRenderer,
} from 'three';
export { OrbitControls } from 'three/examples/jsm/controls/OrbitControls.js';
export { GLTFExporter } from 'three/examples/jsm/exporters/GLTFExporter.js';
export { OBJExporter } from 'three/examples/jsm/exporters/OBJExporter.js';
export { PLYExporter } from 'three/examples/jsm/exporters/PLYExporter.js';
