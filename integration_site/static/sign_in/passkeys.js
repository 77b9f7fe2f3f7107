// What allauth's script would only write to the console: people see why a passkey did not work.
document.addEventListener("allauth.error", (event) => {
    event.preventDefault();
    const { name, message } = event.detail.exception;
    const place = document.getElementById("passkey_problem");
    const works = window.isSecureContext && window.PublicKeyCredential && !/^[\d.]+$|:/.test(location.hostname);
    if (!works) place.textContent = "Passkeys need https and a host name; on this machine http://localhost works, too.";
    else if (name === "NotAllowedError") place.textContent = "No passkey was used. Try again, or sign in another way.";
    else place.textContent = `The passkey did not work: ${message}`;
    place.hidden = false;
});
