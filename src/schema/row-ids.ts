import SchemaBuilder, {
  BasePlugin,
  createInputValueMapper,
  type InputTypeFieldsMapping,
  mapInputFields,
  type PothosInputFieldConfig,
  type PothosOutputFieldConfig,
  resolveInputTypeConfig,
  type SchemaTypes,
} from '@pothos/core';
import { isUuid } from '../lib/uuid7.ts';

/** Options of an argument or input field of type ID that is not the id of a row: its text is passed on as it is. */
export const TEXT_ID = { extensions: { isTextId: true } } as const;

/**
 * Converts the ids of rows in the arguments of every field to lower case, the form that Postgres returns. Postgres accepts
 * both forms, but the audit log, the messages between processes and the filters of live streams compare ids as text.
 */
class RowIdsPlugin<Types extends SchemaTypes> extends BasePlugin<Types> {
  readonly #inputTypes = new Map<string, InputTypeFieldsMapping<Types, true>>();

  override onOutputFieldConfig(field: PothosOutputFieldConfig<Types>): PothosOutputFieldConfig<Types> {
    const ids = mapInputFields(
      field.args,
      this.buildCache,
      (input) => (this.#isRowId(input) ? true : null),
      this.#inputTypes,
    );
    if (ids === null) return field;
    const withLowerCase = createInputValueMapper(ids, (id) =>
      typeof id === 'string' && isUuid(id) ? id.toLowerCase() : id,
    );
    return { ...field, argMappers: [...field.argMappers, (args) => withLowerCase(args)] };
  }

  #isRowId({ type, extensions }: PothosInputFieldConfig<Types>): boolean {
    return resolveInputTypeConfig(type, this.buildCache).name === 'ID' && extensions?.['isTextId'] !== true;
  }
}

declare global {
  // oxlint-disable-next-line typescript/no-namespace -- how Pothos takes the types of plugins
  export namespace PothosSchemaTypes {
    interface Plugins<Types extends SchemaTypes> {
      rowIds: RowIdsPlugin<Types>;
    }
  }
}

SchemaBuilder.registerPlugin('rowIds', RowIdsPlugin);

export default 'rowIds' as const;
