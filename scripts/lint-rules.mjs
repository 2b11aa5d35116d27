// Rules of .oxlintrc.json that oxlint does not have.
import { dirname, join, relative, sep } from 'node:path';

/**
 * Imports point one way: a path may import from those before it and from itself, never from those after it. A longer
 * path is not part of a shorter one: src/events/matching comes before the rest of src/events.
 */
const LAYERS = [
  ['lib'],
  ['postgres', 'nats', 'tracing'],
  ['auth'],
  ['events/event-type.ts', 'events/matching', 'events/catalogue'],
  ['delivery/http', 'delivery/queue'],
  ['subscriptions'],
  ['events'],
  ['delivery/circuit', 'delivery/sending'],
  ['delivery-log'],
  ['replays', 'retention', 'audit', 'erasure', 'alerts'],
  ['schema'],
  ['config'],
  ['server'],
  [
    'embedded',
    'infrastructure.ts',
    'services.ts',
    'jobs.ts',
    'start-up.ts',
    'workers',
    'app.ts',
    'main.ts',
    'program.ts',
    'relaunch.ts',
    'demo',
    'cli',
  ],
];

/** Which paths may import a library: the folder that wraps it, and the clients. All others may import its types. */
const OWNERS = [
  { libraries: /^(graphql|graphql-yoga|@pothos\/.+)(\/.*)?$/, paths: ['schema', 'server', 'cli', 'demo'] },
  { libraries: /^(graphql-ws|ws)(\/.*)?$/, paths: ['server', 'cli', 'demo'] },
  { libraries: /^(got|ipaddr\.js)(\/.*)?$/, paths: ['delivery/http'] },
  { libraries: /^nats(\/.*)?$/, paths: ['nats', 'demo'] },
  { libraries: /^jose(\/.*)?$/, paths: ['auth'] },
  { libraries: /^(ajv|ajv-formats)(\/.*)?$/, paths: ['events/catalogue'] },
  { libraries: /^@prisma\/.+$/, paths: ['postgres'] },
  { libraries: /^@opentelemetry\/.+$/, paths: ['tracing'] },
];

const SOURCE = join(import.meta.dirname, '..', 'src');

/** The path of a file below src, with slashes. */
const pathInSource = (file) => relative(SOURCE, file).split(sep).join('/');

const isWithin = (path, folder) => path === folder || path.startsWith(`${folder}/`);

/** The index of the first layer that has the path; -1 for a path of no layer, which may import everything. */
const layerOf = (path) => LAYERS.findIndex((layer) => layer.some((entry) => isWithin(path, entry)));

/** Calls `check` with each node that imports a module, and the module's name. */
function forImports(check) {
  const visit = (node) => {
    if (typeof node.source?.value === 'string') check(node, node.source.value);
  };
  return {
    ImportDeclaration: visit,
    ImportExpression: visit,
    ExportNamedDeclaration: visit,
    ExportAllDeclaration: visit,
  };
}

const importLayers = {
  create(context) {
    const layer = layerOf(pathInSource(context.filename));
    return forImports((node, name) => {
      if (layer === -1 || !name.startsWith('.')) return;
      if (layerOf(pathInSource(join(dirname(context.filename), name))) > layer)
        context.report({ node, message: 'Imports point one way, see the layers in scripts/lint-rules.mjs.' });
    });
  },
};

const libraryOwners = {
  create(context) {
    const path = pathInSource(context.filename);
    return forImports((node, name) => {
      const owner = OWNERS.find(({ libraries }) => libraries.test(name));
      if (owner === undefined || isOfTypes(node) || owner.paths.some((folder) => isWithin(path, folder))) return;
      context.report({ node, message: `Only ${owner.paths.join(', ')} may import this library, others its types.` });
    });
  },
};

const isOfTypes = (node) =>
  node.importKind === 'type' ||
  node.exportKind === 'type' ||
  (node.specifiers?.length > 0 &&
    node.specifiers.every(({ importKind, exportKind }) => importKind === 'type' || exportKind === 'type'));

/** Options: { selector, message }, each a pattern of syntax in the selectors of ESLint. */
const restrictedSyntax = {
  meta: { schema: false },
  create: ({ options, report }) =>
    Object.fromEntries(options.map(({ selector, message }) => [selector, (node) => report({ node, message })])),
};

export default {
  meta: { name: 'engine' },
  rules: { 'import-layers': importLayers, 'library-owners': libraryOwners, 'restricted-syntax': restrictedSyntax },
};
