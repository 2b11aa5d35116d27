/** GraphQL of the server that this page is from, also behind a path prefix. */
export const GRAPHQL_URL = new URL('../graphql', document.baseURI).href;
