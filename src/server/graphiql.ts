import type { GraphiQLOptions } from 'graphql-yoga';

/** What a person sees at GET /graphql. Over SSE, because the page cannot send what is in its headers tab over WebSocket. */
export const GRAPHIQL: GraphiQLOptions = {
  title: 'webhooks-engine',
  subscriptionsProtocol: 'SSE',
  defaultHeaders: JSON.stringify({ authorization: 'Bearer <API key>' }, undefined, 2),
  // They would be kept in the browser's storage.
  shouldPersistHeaders: false,
};

/** The page from a package, with everything in it: Yoga's own fetches its scripts from elsewhere. */
export async function renderGraphiql(options: GraphiQLOptions): Promise<string> {
  // Nine megabytes, read when somebody asks for them.
  const { renderGraphiQL } = await import('@graphql-yoga/render-graphiql');
  return renderGraphiQL(options);
}
