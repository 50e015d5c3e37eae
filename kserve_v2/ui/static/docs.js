// The description of the API, with the models that are loaded now, each with a request to try.

const dark = matchMedia("(prefers-color-scheme: dark)");

function colours() {
  const chosen = document.documentElement.dataset.theme;
  document.documentElement.classList.toggle("dark-mode", chosen ? chosen === "dark" : dark.matches);
}

dark.addEventListener("change", colours);
colours();

SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#api",
  deepLinking: true,
  docExpansion: "list",
  displayRequestDuration: true,
  // Nobody else is asked whether the description is valid.
  validatorUrl: null,
  presets: [SwaggerUIBundle.presets.apis],
  layout: "BaseLayout",
});
