// Shows the OpenAPI document. Calls that are tried out go with the reader's own session and its CSRF token.
"use strict";

(() => {
  const place = document.getElementById("api-docs");
  window.SwaggerUIBundle({
    url: place.dataset.schema,
    domNode: place,
    presets: [window.SwaggerUIBundle.presets.apis],
    layout: "BaseLayout",
    deepLinking: true,
    docExpansion: "list",
    defaultModelsExpandDepth: -1, // each call shows its own; the list of all of them is longer than the calls
    filter: true,
    tagsSorter: "alpha",
    validatorUrl: null,
    requestInterceptor: (request) => {
      if (request.method && request.method !== "GET") {
        request.headers["X-CSRFToken"] = place.dataset.csrf;
      }
      return request;
    },
  });
})();
