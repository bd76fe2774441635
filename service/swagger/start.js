// Of our own: Swagger UI on the document beside this page, whatever prefix both stand below.
SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  validatorUrl: null, // somebody else's server
});
