import type { CodegenConfig } from '@graphql-codegen/cli';

const config: CodegenConfig = {
  schema: 'schema.graphql',
  documents: ['test/**/*.graphql.ts', 'src/cli/operations.ts', 'src/demo/*.ts', 'examples/urql/*.ts'],
  ignoreNoDocuments: true,
  // Without it imports end in `.js` or nothing, and Node runs neither from TypeScript sources.
  importExtension: '.ts',
  generates: {
    'src/generated/graphql/': {
      preset: 'client',
      presetConfig: { fragmentMasking: false },
      config: {
        useTypeImports: true,
        enumsAsConst: true,
        scalars: { DateTime: 'string', JSON: 'unknown' },
      },
    },
  },
};

// The tool reads the default export.
export default config;
