import './style.css';
import './view.js';
