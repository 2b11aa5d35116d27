import type { CodegenConfig } from '@graphql-codegen/cli';

const settings = {
  useTypeImports: true,
  enumsAsConst: true,
  scalars: { DateTime: 'string', JSON: 'unknown' },
};

const config: CodegenConfig = {
  schema: 'schema.graphql',
  ignoreNoDocuments: true,
  // Without it imports end in `.js` or nothing, and Node runs neither from TypeScript sources.
  importExtension: '.ts',
  generates: {
    'src/generated/graphql/': {
      documents: ['test/**/*.graphql.ts', 'src/cli/operations.ts', 'src/demo/*.ts', 'examples/urql/*.ts'],
      preset: 'client',
      presetConfig: { fragmentMasking: false },
      config: settings,
    },
    // From .graphql files: pages import documents by name, so that the bundle has each operation once.
    'console/generated/': {
      documents: ['console/**/*.graphql'],
      preset: 'client',
      presetConfig: { fragmentMasking: false },
      config: settings,
    },
  },
};

// The tool reads the default export.
export default config;
